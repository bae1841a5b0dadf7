"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinytorch.errors import InvalidValue, MeasurementError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.ops.spec import Op, Params

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
dtype = click.option("--dtype", default=None, help="float32 (the default), float64, int8.")
seconds = click.option(
    "--seconds", default=1.0, show_default=True, help="Time to spend on each measurement."
)


def _use_threads(ctx: click.Context, parameter: click.Parameter, value: int | None) -> int | None:
    if value is not None:
        from tinytorch.native.threads import set_num_threads

        set_num_threads(value)
    return value


threads = click.option(
    "--threads",
    type=int,
    default=None,
    callback=_use_threads,
    expose_value=False,
    help="Threads for kernels and BLAS (default: every usable CPU).",
)


def dtype_of(op: Op, chosen: str | None) -> str:
    """Return the dtype asked for, or the op's first; raises InvalidValue for one it lacks."""
    if chosen is None:
        return op.dtypes[0]
    if chosen not in op.dtypes:
        raise InvalidValue(f"{op.name} takes dtype {' or '.join(op.dtypes)}, got {chosen!r}")
    return chosen


def words(text: str | None) -> list[str]:
    """Return the words of a comma-separated option."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def params_of(op: Op, text: str | None) -> Params:
    """Return the params of `--params approximate=none`, or the op's first variant."""
    if not text:
        return op.variants[0]
    split = (word.partition("=") for word in words(text))
    pairs = {name: value for name, _, value in split}
    if pairs not in [dict(variant) for variant in op.variants]:
        known = " or ".join(op.params_text(v) or "(none)" for v in op.variants)
        raise InvalidValue(f"{op.name} takes params {known}, got {text!r}")
    return pairs


params = click.option("--params", "params_text", default=None, help="e.g. approximate=none.")


def kernels_of(op: str, text: str | None) -> list[Kernel] | None:
    """Return the kernels named in a comma-separated option (names, or paths of kernel files)."""
    chosen: list[Kernel] = []
    for word in words(text):
        if word.endswith(".py"):
            found = [k for k in registry.load_file(Path(word).resolve()) if k.op == op]
            if not found:
                raise InvalidValue(f"{word} defines no kernel of {op}")
            chosen += found
        else:
            chosen.append(registry.get(op, word))
    return chosen or None


def callable_at(target: str) -> Callable[[], Any]:
    """Return the function that `package.module:function` names, to be called without arguments.

    Raises InvalidValue when the module can't be imported or holds no such function.
    """
    module_name, _, name = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidValue(f"can't find {target!r}: {error}") from error
    if not callable(found):
        raise InvalidValue(f"{target!r} is a {type(found).__name__}, not something to call")
    function: Callable[[], Any] = found

    def call() -> Any:
        try:
            return function()
        except Exception as error:
            raise MeasurementError(
                f"{target} failed when called without arguments: {type(error).__name__}: {error}"
            ) from error

    return call
