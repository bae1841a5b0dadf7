"""`fuse`: the decorator, and what a call does: look up its plan, and run one compiled function."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from tinytorch.errors import FusionError, InvalidValue
from tinytorch.fuse.plan import Plan
from tinytorch.fuse.program import Program, safe_name, where

_MOST_PLANS = 512


class Fused:
    """A NumPy function that runs as compiled loops. Call it as the function; `out=` reuses memory.

    `out` is an array, or a tuple of them where the function returns several; it may be one of the
    arguments. Raises FusionError for what can't be fused, unless `fallback` was asked for.
    """

    def __init__(
        self, function: Callable[..., Any], fallback: bool = False, rigid: bool = False
    ) -> None:
        self.function, self.fallback, self.rigid = function, fallback, rigid
        self.__name__ = getattr(function, "__name__", "fused")
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._signature = inspect.signature(function)
        kinds = {p.kind for p in self._signature.parameters.values()}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise FusionError(
                f"can't fuse {where(function)}\n  it takes *args or **kwargs; name them"
            )
        self.names = tuple(safe_name(name) for name in self._signature.parameters)
        self._static: frozenset[int] = frozenset()
        self._plans: dict[Any, Plan | None] = {}
        self._programs: dict[Any, Program] = {}
        self._warned = False

    def __call__(self, *args: Any, out: Any = None, **named: Any) -> Any:
        """Compute the function of these arguments."""
        if named or len(args) != len(self.names):
            args = self._bound(args, named)
        # NOTE: this is most of what a small call costs, so it is written for speed.
        key: list[Any] = []
        for value in args:
            kind = value.__class__
            if kind is np.ndarray:
                key += value.dtype, value.shape, value.strides
            elif kind is float or (kind is int and not self._static):
                key.append(kind)
            else:
                return self._run_unusual(args, out)
        plan = self._plans.get(tuple(key))
        if plan is None:
            return self._run_unusual(args, out)
        return plan.run(args) if out is None else plan.run_into(args, out)

    def _run_unusual(self, args: tuple[Any, ...], out: Any) -> Any:
        """Run a call that is the first of its kind, or has arguments of rarer kinds."""
        try:
            plan = self._plan(args)
        except FusionError as error:
            if not self.fallback:
                raise
            self._warn(error)
            plan = None
        if plan is None:
            return self._unfused(args, out)
        return plan.run(args) if out is None else plan.run_into(args, out)

    def _bound(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        bound = self._signature.bind(*args, **named)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _exact(self, args: tuple[Any, ...]) -> Any:
        """Return what calls must have in common to share a plan."""
        key: list[Any] = []
        for i, value in enumerate(args):
            if type(value) is np.ndarray:
                key += value.dtype, value.shape, value.strides
            else:
                key.append(self._exact_one(i, value))
        return tuple(key)

    def _exact_one(self, place: int, value: Any) -> Any:
        kind = type(value)
        if (kind is int or kind is float) and place not in self._static:
            return kind
        if isinstance(value, np.generic):
            return value.dtype
        if kind.__hash__ is None:
            raise FusionError(
                f"can't fuse {self.__name__} for a {kind.__name__}: pass plain arrays, numbers "
                "and hashable options"
            )
        return (kind, value)

    def _kind(self, args: tuple[Any, ...]) -> Any:
        """Return what calls must have in common to share a program."""
        return tuple(
            (value.dtype, tuple(map(self._known_size, value.shape, itertools.repeat(i))))
            if isinstance(value, np.ndarray)
            else self._exact_one(i, value)
            for i, value in enumerate(args)
        )

    def _known_size(self, extent: int, place: int) -> int:
        """Return the size of an argument's axis where a program depends on it, or 0."""
        return extent if place in self._static or (extent == 1 and not self.rigid) else 0

    def _plan(self, args: tuple[Any, ...]) -> Plan | None:
        """Return the plan for such arguments; None: run the function as it is."""
        key = self._exact(args)
        if key in self._plans:
            return self._plans[key]
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        plan = None
        if any(a.ndim for a in arrays) and all(a.size for a in arrays):
            try:
                plan = Plan(self.__name__, self.names, self._program(args), args)
            except FusionError as error:
                if not self.fallback:
                    raise
                self._warn(error)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[self._exact(args)] = plan
        return plan

    def _program(self, args: tuple[Any, ...]) -> Program:
        kind = self._kind(args)
        if kind not in self._programs:
            program = Program.of(self.function, self.names, args, self.rigid)
            if not program.traced.static <= self._static:
                self._static |= program.traced.static
                self._plans.clear()
                self._programs.clear()
            self._programs[self._kind(args)] = program
            return program
        return self._programs[kind]

    def _warn(self, error: FusionError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self.__name__} runs unfused: {error}", RuntimeWarning, stacklevel=4)

    def _unfused(self, args: tuple[Any, ...], out: Any) -> Any:
        result = self.function(*args)
        if out is None:
            return result
        single = not isinstance(result, tuple | list)
        for target, value in zip(*(([out], [result]) if single else (out, result)), strict=True):
            target[...] = value
        return out

    def explain(self, *args: Any, measure: bool = False, **named: Any) -> Any:
        """Return how a call is fused, what it costs and what to expect; str() shows it."""
        from tinytorch.fuse.explain import explain

        arguments = self._bound(args, named)
        plan = self._plan(arguments)
        if plan is None:
            raise InvalidValue(f"{self.__name__} runs unfused for these arguments")
        return explain(plan, self.function, self, arguments, measure)


@overload
def fuse(function: Callable[..., Any]) -> Fused: ...
@overload
def fuse(*, fallback: bool = ..., rigid: bool = ...) -> Callable[[Callable[..., Any]], Fused]: ...
def fuse(
    function: Callable[..., Any] | None = None, *, fallback: bool = False, rigid: bool = False
) -> Fused | Callable[[Callable[..., Any]], Fused]:
    """Turn a function of arrays and numbers, written with NumPy, into compiled loops.

    It is traced at the first call with arguments of new dtypes, ranks or axes of size one; from
    then on a call is one walk over memory. `fallback=True` runs what can't be fused as it is, with
    one warning; without it that is a FusionError which names the line.

    `rigid=True` never stretches an axis of size one of one argument to another's size (ShapeError
    instead), so that one program serves arguments of all sizes: what kernels want, who know what
    shapes they were given.
    """
    if function is None:
        return lambda decorated: Fused(decorated, fallback, rigid)
    return Fused(function, fallback, rigid)
