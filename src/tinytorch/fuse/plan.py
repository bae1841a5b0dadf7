"""A plan: all that is known of calls of one kind, down to the code that runs them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.fuse import variant as variants
from tinytorch.fuse.drivers import Emitted, emit
from tinytorch.fuse.program import Array, Program
from tinytorch.fuse.variant import Variant
from tinytorch.native import threads
from tinytorch.native.aligned import address_of, empty

_WORTH_SHARING = 1 << 15  # elements; below, waking the threads costs more than they bring
_Alias = tuple[int | None, ...]


def layout(array: Array) -> str:
    """Return how emitted code walks an array: 'C', 'inner' (rows without gaps) or 'strided'."""
    if array.flags.c_contiguous:
        return "C"
    return "inner" if array.strides[-1] == array.itemsize else "strided"


@dataclass(frozen=True)
class Code:
    """One compiled file: the two functions, and what they take."""

    serial: Callable[..., None]
    parallel: Callable[..., None]
    emitted: Emitted


class Plan:
    """Calls of one function with arguments of the same types, shapes and strides."""

    def __init__(
        self, name: str, names: tuple[str, ...], program: Program, arguments: tuple[Any, ...]
    ) -> None:
        self.name, self.names, self.program = name, names, program
        self.sizes = program.sizes(arguments)
        self.shapes, self.dtypes = program.shapes(self.sizes), program.dtypes()
        self.blocks = program.few_rows(self.sizes)
        self.large = program.work(self.sizes) >= _WORTH_SHARING
        self.arrays = tuple(sorted(program.inputs))
        self.layouts = tuple(layout(arguments[i]) for i in self.arrays)
        self.single = program.traced.single
        self.ready: dict[Any, Callable[..., None]] = {}
        self.contiguous = ("C",) * len(self.shapes)
        self.apart: _Alias = (None,) * len(self.arrays)
        self.fresh: Callable[..., None] | None = None
        self.scalars = any(shape == () for shape in self.shapes)
        vast = variants.vast_bytes()
        self.vast = vast is not None and self._moved(arguments) >= vast

    def _moved(self, arguments: tuple[Any, ...]) -> int:
        """Return the bytes of all arrays."""
        read = [int(arguments[i].nbytes) for i in self.arrays]
        written = zip(self.shapes, self.dtypes, strict=True)
        return sum(read) + sum(math.prod(shape) * dtype.itemsize for shape, dtype in written)

    def run(self, arguments: tuple[Any, ...]) -> Any:
        """Compute into fresh arrays."""
        if self.fresh is None:
            self.fresh = self.prepared(self.contiguous, self.apart, arguments)
        if self.single and not self.scalars:
            made = empty(self.shapes[0], self.dtypes[0])
            self.fresh(arguments, (made,), threads.get_num_threads() if self.large else 1)
            return made
        several = [empty(s, d) for s, d in zip(self.shapes, self.dtypes, strict=True)]
        self.fresh(arguments, several, threads.get_num_threads() if self.large else 1)
        found = [o[()] if o.ndim == 0 else o for o in several]
        return found[0] if self.single else tuple(found)

    def run_into(self, arguments: tuple[Any, ...], out: Any) -> Any:
        """Compute into `out`."""
        given = (out,) if self.single else tuple(out)
        shares = threads.get_num_threads() if self.large else 1
        alias = self._plain(given, arguments)
        if alias is not None:
            outs = self.contiguous
            call = self.ready.get((outs, alias)) or self.prepared(outs, alias, arguments)
            call(arguments, given, shares)
            return out
        self._check(given)
        targets, alias = self._targets(given, arguments)
        self.prepared(tuple(map(layout, targets)), alias, arguments)(arguments, targets, shares)
        for target, wanted in zip(targets, given, strict=True):
            if target is not wanted:
                wanted[...] = target
        return out

    def _plain(self, given: tuple[Any, ...], arguments: tuple[Any, ...]) -> _Alias | None:
        """Return which input is which result, for results that need no more than a look: gapless,
        fitting, and each an input itself or memory of its own. None: look closer."""
        if len(given) != len(self.shapes):
            return None
        for array, shape, dtype in zip(given, self.shapes, self.dtypes, strict=True):
            if array.__class__ is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return None
            if not array.flags.carray:  # without gaps, aligned and writeable, at one look
                return None
        for i in range(1, len(given)):
            if any(np.may_share_memory(given[i], other) for other in given[:i]):
                return None
        found: list[int | None] = []
        for place in self.arrays:
            other, same = arguments[place], None
            for number, array in enumerate(given):
                if array is other and (number, place) not in self.program.late:
                    same = number
                elif np.may_share_memory(array, other):
                    return None
            found.append(same)
        return tuple(found)

    def _check(self, given: tuple[Any, ...]) -> None:
        name = self.name
        if len(given) != len(self.shapes):
            raise InvalidValue(f"{name} has {len(self.shapes)} results, out= has {len(given)}")
        for array, shape, dtype in zip(given, self.shapes, self.dtypes, strict=True):
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                seen = getattr(array, "dtype", type(array).__name__)
                raise InvalidValue(f"{name}'s out must be an ndarray of {dtype}, got {seen}")
            if array.shape != shape:
                raise ShapeError(f"{name}'s out must have shape {shape}, got {array.shape}")
            if not array.flags.writeable:
                raise InvalidValue(f"{name}'s out is read-only: pass a writable array")
        for i, first in enumerate(given):
            if any(np.may_share_memory(first, second) for second in given[:i]):
                raise InvalidValue(f"{name}'s out arrays overlap: pass one array for each result")

    def _targets(
        self, given: tuple[Array, ...], arguments: tuple[Any, ...]
    ) -> tuple[list[Array], _Alias]:
        """Return where to write, and which input is which result's own memory."""
        alias: list[int | None] = [None] * len(self.arrays)
        targets = list(given)
        for number, array in enumerate(given):
            same, clash = [], False
            for k, place in enumerate(self.arrays):
                other = arguments[place]
                one = array is other
                if not one and not np.may_share_memory(array, other):
                    continue
                one = one or _identical(array, other)
                clash = clash or not one or (number, place) in self.program.late
                same.append(k)
            if clash:
                targets[number] = empty(self.shapes[number], self.dtypes[number])
            else:
                for k in same:
                    alias[k] = number
        return targets, tuple(alias)

    def prepared(
        self, outs: tuple[str, ...], alias: _Alias, arguments: tuple[Any, ...]
    ) -> Callable[..., None]:
        """Return what runs a call with results in such memory: (arguments, results, threads)."""
        found = self.ready.get((outs, alias))
        if found is None:
            code = self.code(self.variant(outs, alias))
            found = self.ready[outs, alias] = self._bound(code, outs, arguments)
        return found

    def variant(self, outs: tuple[str, ...], alias: _Alias) -> Variant:
        """Return what results in such memory ask of the code."""
        return Variant(self.layouts, outs, alias, self.blocks, self.vast)

    def code(self, variant: Variant) -> Code:
        """Return the compiled file for this kind of memory, from this process, disk or scratch."""
        known = self.program.compiled
        if variant not in known:
            from tinytorch.native import codecache  # it loads Numba

            emitted = self.emit(variant)
            module = codecache.load_generated(emitted.source, f"{self.name}_{emitted.digest}")
            known[variant] = Code(
                getattr(module, f"serial_{emitted.digest}"),
                getattr(module, f"parallel_{emitted.digest}"),
                emitted,
            )
        found: Code = known[variant]
        return found

    def emit(self, variant: Variant | None = None) -> Emitted:
        """Return the file for a kind of memory, by default that of a call without `out`."""
        variant = variant or self.variant(self.contiguous, self.apart)
        names = tuple(self.names[i] for i in self.arrays)
        program = self.program
        return emit(program.graph, self.arrays, program.nests, variant, names, self.name)

    def _bound(
        self, code: Code, outs: tuple[str, ...], arguments: tuple[Any, ...]
    ) -> Callable[..., None]:
        """Return a function that hands a call's arguments on to the compiled one.

        It is written out as source, for a loop over how each argument is found would cost as much
        as a small call itself.
        """
        space: dict[str, Any] = {"serial": code.serial, "parallel": code.parallel}
        given = [self._found(name, outs, arguments, code, space) for name in code.emitted.takes]
        listed = ", ".join(given)
        exec(
            f"def bound(arguments, results, shares):\n"
            f"    (serial if shares == 1 else parallel)({listed})\n",
            space,
        )
        found: Callable[..., None] = space["bound"]
        return found

    def _found(
        self,
        name: str,
        outs: tuple[str, ...],
        arguments: tuple[Any, ...],
        code: Code,
        space: dict[str, Any],
    ) -> str:
        """Return the expression for one argument of the compiled function."""
        names = [self.names[i] for i in self.arrays]
        if name in names:
            k = names.index(name)
            array = arguments[self.arrays[k]]
            flat = ".reshape(-1)" if self.layouts[k] == "C" and array.ndim != 1 else ""
            return f"arguments[{self.arrays[k]}]{flat}"
        if name == "shares":
            return name
        if name.startswith("out"):
            k = int(name[3:])
            flat = ".reshape(-1)" if outs[k] == "C" and len(self.shapes[k]) != 1 else ""
            return f"results[{k}]{flat}"
        if name.startswith("n"):
            return str(math.prod(self.sizes.get(d, 1) for d in code.emitted.extents[name]))
        place = int(name[1:])
        host = self.program.traced.params[place]
        dtype = next(
            n.dtype for n in self.program.graph.nodes if n.op == "param" and n.value == place
        )
        space[f"type{place}"] = dtype.type
        if not host.varies:
            space[name] = dtype.type(host.compute(arguments))
            return name
        (argument, *others) = host.depends
        if not others and host.text == self.names[argument]:
            return f"type{place}(arguments[{argument}])"
        space[f"compute{place}"] = host.compute
        return f"type{place}(compute{place}(arguments))"


def _identical(a: Array, b: Array) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.strides == b.strides
        and address_of(a) == address_of(b)
    )
