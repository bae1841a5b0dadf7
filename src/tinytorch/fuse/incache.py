"""A program's instructions alone: the same compiled code on operands that stay in the first cache.

A large call waits for memory and computes at once, and so lasts at least as long as the longer of
the two. How long moving takes, a copy of as many bytes says; how long computing takes is what is
measured here: each thread runs the program's own machine code over a few rows, again and again,
until it has worked through its share of the elements. No way of moving the data makes a call
faster than that, only other instructions. Where a large call's arrays fill the last cache and its
results go past it, here they are stored as those of smaller calls are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.fuse.plan import Plan
from tinytorch.fuse.program import Array
from tinytorch.fuse.variant import Variant
from tinytorch.measure.caches import detect_caches
from tinytorch.native import codecache, threads
from tinytorch.native.aligned import aligned_empty

_PAGE_BYTES = 4096
_UNKNOWN_BYTES = 32_768  # of a first cache whose size can't be read: none is smaller now
_USED = 0.75  # of it: the rest is for what the compiler keeps in memory
_DRIVER = '''"""Repeats a program, each thread on memory of its own; written by tinytorch.fuse."""

import sys

from tinytorch.native.codecache import jit, prange

once = sys.modules[{module!r}].{serial}


@jit(parallel=True, flags=frozenset())
def repeat_{digest}({takes}, repeats, shares):
    for share in prange(shares):
{own}
        for _ in range(repeats):
            once({given}, 1)
'''


@dataclass(frozen=True)
class InCache:
    """`run()` works through `share` (about 1) times the elements of the whole call.

    rows: how many of the leading axis's rows each thread keeps in its cache; operands: the arrays
    that hold them, one thread's after the other's.
    """

    run: Callable[[], None]
    share: float
    rows: int
    operands: tuple[Array, ...]


def in_cache(fused: Any, arguments: tuple[Any, ...], updates: tuple[int, ...] = ()) -> InCache:
    """Return a call that runs as many elements as `fused(*arguments)` does, in the first cache.

    updates: the places of the arguments that the results replace, for a call in place. It uses as
    many threads as are in use when it is made, and may be run with that number alone.

    Raises InvalidValue for a call that can't be cut into rows which fit, and for arrays with gaps.
    """
    arguments = fused._bound(arguments, {})
    plan = fused._plan(arguments)
    if plan is None or set(plan.layouts) - {"C"}:
        raise InvalidValue(f"{fused.__name__} in cache: pass arrays without gaps, and not empty")
    whole, rows = _rows(plan, arguments)
    names = _same_size(plan)
    few = tuple(
        a[:rows].copy() if i in _places(plan, names) else a.copy() if _is_array(a) else a
        for i, a in enumerate(arguments)
    )
    small = fused._plan(few)
    assert small is not None
    made = [np.empty(s, d) for s, d in zip(small.shapes, small.dtypes, strict=True)]
    for number, place in enumerate(updates):
        made[number] = few[place]
    same = {place: number for number, place in enumerate(updates)}
    alias = tuple(same.get(place) for place in plan.arrays)
    used = small.code(Variant(small.layouts, small.contiguous, alias, small.blocks))
    if used is not plan.code(Variant(plan.layouts, plan.contiguous, alias, plan.blocks)):
        raise InvalidValue(f"{fused.__name__} in cache: few rows take other code than many")
    shares = threads.get_num_threads()
    repeats = max(1, round(whole / (rows * shares)))
    driver, given = _driver(small, used, few, made, shares)
    return InCache(
        run=lambda: driver(*given, repeats, shares),
        share=repeats * rows * shares / whole,
        rows=rows,
        operands=tuple(filter(_is_array, given)),
    )


def _first_cache_bytes() -> int:
    sizes = [c.size_bytes for c in detect_caches() if c.level == 1 and c.kind != "instruction"]
    return min(sizes, default=_UNKNOWN_BYTES)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _same_size(plan: Plan) -> frozenset[str]:
    """Return the names of the size that rows are counted by, the first nest's first axis."""
    names = {plan.program.nests[0].space[0]}
    for _ in plan.program.traced.equal:
        for pair in plan.program.traced.equal:
            names |= set(pair) if names & set(pair) else set()
    return frozenset(n for n in names if isinstance(n, str))


def _places(plan: Plan, names: frozenset[str]) -> frozenset[int]:
    """Return the places of the arguments whose first axis that size is."""
    sizes = plan.program.traced.sizes
    return frozenset(place for n in names for place, axis in [sizes[n]] if axis == 0)


def _rows(plan: Plan, arguments: tuple[Any, ...]) -> tuple[int, int]:
    """Return how many rows there are, and how many of them fit the first cache: a power of two."""
    names = _same_size(plan)
    if not names:
        raise InvalidValue(f"{plan.name} in cache: its first axis has one row")
    whole = plan.sizes[min(names)]
    cut = _places(plan, names)
    moved = [(arguments[i].nbytes, i in cut) for i in plan.arrays]
    for place, shape in zip(plan.program.graph.outputs, plan.shapes, strict=True):
        node = plan.program.graph.nodes[place]
        size = int(np.prod(shape, dtype=np.int64)) * node.dtype.itemsize
        moved.append((size, bool(node.shape) and node.shape[0] in names))
    room = _USED * _first_cache_bytes() - sum(size for size, by_row in moved if not by_row)
    each = sum(size for size, by_row in moved if by_row) / whole
    rows = 1 << max(0, int(room / each).bit_length() - 1) if room > 0 else 0
    if not 2 <= rows <= whole:
        raise InvalidValue(
            f"{plan.name} in cache: two rows of {each:.0f} bytes must fit, and there must be two"
        )
    return whole, rows


def _driver(
    plan: Plan, code: Any, arguments: tuple[Any, ...], results: list[Array], shares: int
) -> tuple[Any, list[Any]]:
    """Return the compiled loop around a program's serial form, and what it is to be given."""
    space: dict[str, Any] = {}
    takes = code.emitted.takes[:-1]
    found = [plan._found(n, plan.contiguous, arguments, code, space) for n in takes]
    space |= {"arguments": arguments, "results": results}
    given = [eval(expression, space) for expression in found]
    arrays = [k for k, value in enumerate(given) if _is_array(value)]
    own = []
    for number, k in enumerate(arrays):
        value = given[k]
        # NOTE: no two start at the same place of a page: a load waits for a store under way there.
        lead = number * _PAGE_BYTES // len(arrays) // 64 * 64 // value.itemsize
        step = (-(-value.nbytes // _PAGE_BYTES) + 1) * _PAGE_BYTES // value.itemsize
        given[k] = aligned_empty((shares * step,), value.dtype, _PAGE_BYTES)
        given[k][...] = 0
        for share in range(shares):
            given[k][share * step + lead :][: value.size] = value
        first = f"share * {step} + {lead}"
        own.append(f"        a{k} = {takes[k]}[{first} : {first} + {value.size}]")
    text = _DRIVER.format(
        module=code.serial.py_func.__module__,
        serial=code.serial.__name__,
        digest="{digest}",
        takes=", ".join(takes),
        own="\n".join(own),
        given=", ".join(f"a{k}" if k in arrays else name for k, name in enumerate(takes)),
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    module = codecache.load_generated(text.replace("{digest}", digest), f"repeat_{digest}")
    return getattr(module, f"repeat_{digest}"), given
