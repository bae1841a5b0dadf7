"""ComputeBackend: a named choice over kernels. Small on purpose: never one method per op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.errors import InvalidValue, UnsupportedInput
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.native import threads
from tinytorch.ops.spec import Array, Params

_MOST_REMEMBERED = 4096


def _key(op: str, arrays: tuple[Any, ...], params: Params) -> tuple[Any, ...]:
    """Return what the choice of a kernel depends on."""
    # NOTE: the class is part of it, because a choice holds for plain ndarrays: `*` means another
    # thing to np.matrix, and scalars have shapes too.
    # `ComputeBackend.dispatch` writes this out for up to three arrays.
    described = [part for a in arrays for part in (a.__class__, a.shape, a.strides, a.dtype)]
    return (op, choices(params), threads.current, *described)


def choices(params: Params) -> tuple[tuple[str, Any], ...]:
    """Return the params that a choice of kernel may depend on: all but floats.

    A float (an eps, a learning rate, Adam's step) is a quantity that a kernel computes with: no
    kernel is chosen by it, and a call with another one is not a call of another kind.
    """
    return tuple([item for item in params.items() if item[1].__class__ is not float])


def _checked(op: str, arrays: tuple[Any, ...], params: Params) -> tuple[Array, ...]:
    """Return the arguments as ndarrays that the op can mean, or raise what is wrong with them."""
    described = ops.get(op)
    try:
        plain = tuple(np.asarray(array) for array in arrays)
    except ValueError as error:
        raise InvalidValue(f"{op} takes numbers in a regular shape: {error}") from error
    if len(plain) != described.arity:
        raise InvalidValue(
            f"{op} takes {described.arity} array(s), {described.signature}; got {len(plain)}"
        )
    for array in plain:
        if array.dtype.kind not in "biufc":
            raise InvalidValue(f"{op} takes numbers, got an array of {array.dtype}")
    try:
        described.output_shape(tuple(array.shape for array in plain), **params)
        hash(tuple(params.items()))
    except TypeError as error:
        raise InvalidValue(f"{op} does not take the parameters {dict(params)}") from error
    return plain


class ComputeBackend:
    """Chooses a kernel for a call, and remembers the choice for calls of the same signature.

    A subclass says which rungs it may use, in `rungs`, or chooses by itself, in `choose`.
    """

    def __init__(self, name: str, summary: str = "") -> None:
        """Name the backend; `summary` is a sentence for tables."""
        self.name = name
        self.summary = summary
        self._chosen: dict[Any, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def rungs(self, op: str) -> Iterable[Kernel]:
        """Return the kernels this backend may use for an op, preferred first."""
        raise NotImplementedError

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return the kernel for a call: the first preferred one that takes these inputs.

        Raises UnsupportedInput with each kernel's reason when none does.
        """
        reasons = []
        for rung in self.rungs(op):
            refusal = rung.refuses(arrays)
            if refusal is None:
                return rung
            reasons.append(f"{rung.name} {refusal}")
        raise UnsupportedInput(
            f"backend {self.name!r} has no kernel of {op} for "
            f"{', '.join(f'{a.dtype}{list(a.shape)}' for a in arrays)}: "
            f"{'; '.join(reasons) or 'it has none at all'}"
        )

    def dispatch(self, op: str, *arrays: Any, out: Any = None, **params: Any) -> Array:
        """Compute an op on ndarrays (or what NumPy makes one of) and return the result.

        An op with several outputs (`Op.outputs`) returns a tuple of arrays, and takes one as `out`.

        Raises UnknownName for an op that is not one, ShapeError for shapes that don't fit,
        UnsupportedInput where no kernel of this backend takes the inputs.
        """
        try:
            # NOTE: the key is most of what a dispatch costs; `_key` written out takes half as long.
            told = choices(params) if params else ()
            count = len(arrays)
            if count == 2:
                a, b = arrays
                function = self._chosen[
                    op,
                    told,
                    threads.current,
                    a.__class__,
                    a.shape,
                    a.strides,
                    a.dtype,
                    b.__class__,
                    b.shape,
                    b.strides,
                    b.dtype,
                ]
            elif count == 3:
                a, b, c = arrays
                function = self._chosen[
                    op,
                    told,
                    threads.current,
                    a.__class__,
                    a.shape,
                    a.strides,
                    a.dtype,
                    b.__class__,
                    b.shape,
                    b.strides,
                    b.dtype,
                    c.__class__,
                    c.shape,
                    c.strides,
                    c.dtype,
                ]
            elif count == 1:
                (a,) = arrays
                function = self._chosen[
                    op, told, threads.current, a.__class__, a.shape, a.strides, a.dtype
                ]
            else:
                function = self._chosen[_key(op, arrays, params)]
        except (KeyError, AttributeError, TypeError):
            return self._dispatch_new(op, arrays, out, params)
        if out is None and not params:
            if count == 2:  # Python calls another function faster where it needs no tuple for it
                return function(a, b)  # type: ignore[no-any-return]
            return function(*arrays)  # type: ignore[no-any-return]
        return function(*arrays, out=out, **params)  # type: ignore[no-any-return]

    def _dispatch_new(self, op: str, arrays: tuple[Any, ...], out: Any, params: Params) -> Array:
        plain = _checked(op, arrays, params)
        kernel = self.choose(op, plain, params)
        if len(self._chosen) >= _MOST_REMEMBERED:
            self._chosen.clear()
        self._chosen[_key(op, plain, params)] = kernel.function
        return kernel.function(*plain, out=out, **params)  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Choose anew from the next call on (after tuning)."""
        self._chosen.clear()


def rungs_by_preference(op: str, preference: tuple[str, ...]) -> Iterator[Kernel]:
    """Yield an op's rungs in order of a list of names, those it has; each is imported in its turn.

    Who stops at the library's rung has not loaded Numba.
    """
    have = registry.rung_names(op)
    return (registry.get(op, name) for name in preference if name in have)
