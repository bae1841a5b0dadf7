"""Writes into arrays: what a backward pass needs to know, so that no gradient is silently wrong.

Nodes and writes draw tickets from one sequence. A node is older than a write if its ticket is
smaller, and then what the node kept must not be the memory that was written. Only writes through a
Tensor (`x[...] = v`, `x.data += v`, an optimizer's step) are seen; an ndarray changes unseen.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from tinytorch.errors import GraphError
from tinytorch.ops.spec import Array

ticket = itertools.count(1).__next__

_MOST_RANGES = 64


class _Written:
    """The parts of one block of memory that were written, each with its latest ticket."""

    def __init__(self, owner: Array) -> None:
        self.ranges: dict[tuple[int, int], int] = {}
        self.whole = np.lib.array_utils.byte_bounds(owner)
        self.owner = weakref.ref(owner, _forgetter(id(owner)))

    def add(self, where: tuple[int, int], number: int) -> None:
        if where not in self.ranges and len(self.ranges) >= _MOST_RANGES:
            lows, highs = zip(where, *self.ranges, strict=True)
            self.ranges.clear()
            where = min(lows), max(highs)
        self.ranges[where] = number


_blocks: dict[int, _Written] = {}
latest = 0


def _forgetter(key: int) -> Any:
    return lambda _: _blocks.pop(key, None)


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def mark(array: Array) -> None:
    """Note that the elements of an array have just been written."""
    global latest
    owner = _owner(array)
    written = _blocks.get(id(owner))
    if written is None or written.owner() is not owner:
        written = _blocks[id(owner)] = _Written(owner)
    latest = ticket()
    # NOTE: an array that owns its memory never moves; to ask for the bounds takes microseconds.
    where = written.whole if owner is array else np.lib.array_utils.byte_bounds(array)
    written.add(where, latest)


def check(node: Any) -> None:
    """Raise GraphError where something the node kept has been written since."""
    for kept in node.saved:
        if isinstance(kept, np.ndarray) and kept.size and _written_since(kept, node.ticket):
            raise GraphError(
                f"{type(node).__name__} needs an array of shape {kept.shape} that was written in "
                "place after it was used, so its gradient would be wrong: write after backward(), "
                "or compute a new Tensor instead"
            )


def _written_since(kept: Array, number: int) -> bool:
    written = _blocks.get(id(_owner(kept)))
    if written is None:
        return False
    low, high = np.lib.array_utils.byte_bounds(kept)
    return any(
        at > number and first < high and low < end for (first, end), at in written.ranges.items()
    )
