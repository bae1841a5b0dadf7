"""Compile kernels before they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context

from tinytorch import ops
from tinytorch.errors import InvalidValue
from tinytorch.kernels import registry
from tinytorch.ops.spec import Op, Size

# What whole models run on, each compiled by the `prepare` of its module.
MODELS = {
    "encoder": "tinytorch.native.encoder.encoder",
    "decoder": "tinytorch.native.decoder.decoder",
}


def warmup(
    names: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    on_kernel: Callable[[str, float], None] | None = None,
    processes: int = 1,
) -> int:
    """Call every compiled kernel of the named ops (default: all), and return how many calls ran.

    A name may also be that of one kernel, as "matmul/packed", or one of MODELS, which are among
    all. Each is called on its smallest input and on one that is worth sharing among threads. What
    is compiled is kept on disk, so other processes load it in milliseconds. With `processes` above
    1 it is compiled by as many others: as always with Python's multiprocessing, a script then needs
    `if __name__ == "__main__":`.
    Raises UnknownName for a name that is not there, InvalidValue for less than one process.
    """
    if processes < 1:
        raise InvalidValue(f"processes must be at least 1, got {processes}")
    families = _families(names or (*ops.names(), *MODELS))
    if processes == 1:
        calls = map(_call_all, families, [dtypes] * len(families))
        return _counted(families, calls, on_kernel)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_call_all, family, dtypes) for family in families]
        return _counted(families, (f.result() for f in as_completed(futures)), on_kernel)


def _counted(
    families: list[list[str]],
    calls: Iterator[tuple[str, int]],
    on_kernel: Callable[[str, float], None] | None,
) -> int:
    ran = 0
    for i, (family, count) in enumerate(calls, 1):
        ran += count
        if on_kernel:
            on_kernel(family, i / len(families))
    return ran


def _families(names: Sequence[str]) -> list[list[str]]:
    """Return kernels by family, those with most to compile first.

    Ops whose names begin alike (conv2d, conv2d_input_gradient) share code, which two processes
    would both compile; so do products and linear layers, and attention under a mask and without.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        if name in MODELS:
            found.setdefault("models", []).append(name)
            continue
        op, _, rung = name.partition("/")
        kernels = [registry.get(op, rung)] if rung else registry.ladder(ops.get(op).name)
        chosen = [f"{k.op}/{k.name}" for k in kernels if not k.interpreted]
        family = op.removeprefix("masked_").split("_")[0]
        found.setdefault("linear" if op == "matmul" else family, []).extend(chosen)
    heavy = ("linear", "attention", "conv2d", "models")
    order = sorted(found, key=lambda family: (family not in heavy, family))
    return [found[family] for family in order if found[family]]


def _call_all(kernels: list[str], dtypes: Sequence[str] | None) -> tuple[str, int]:
    """Call some kernels, and return the op of the first one and how many calls ran."""
    return kernels[0].partition("/")[0], sum(_call(name, dtypes) for name in kernels)


def _call(name: str, dtypes: Sequence[str] | None) -> int:
    if name in MODELS:
        import_module(MODELS[name]).prepare()
        return 1
    rung = registry.get(*name.split("/"))
    op, ran = ops.get(rung.op), 0
    for dtype in set(op.dtypes) & set(dtypes or op.dtypes):
        for params in op.variants:
            for size in {op.size("one"), _largest(op)}:
                arrays = op.inputs(size.shapes, dtype)
                if rung.refuses(arrays) is None:
                    rung.function(*arrays, **params)
                    ran += 1
    return ran


def _largest(op: Op) -> Size:
    return max(op.sizes, key=lambda size: sum(math.prod(shape) for shape in size.shapes))
