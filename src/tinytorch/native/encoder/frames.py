"""Frames: what a compiled call is about, as integers in memory, read back by name.

A function that is called by address takes few arguments; a frame is one, for all that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from tinytorch.native.pointers import cgutils, intrinsic, types

_INT = ir.IntType(64)


def reader(kind: Any) -> Any:
    """Make an intrinsic that returns the frame at an address as a named tuple of that kind."""
    count = len(kind._fields)

    @intrinsic
    def frame_at(typing_context, address):
        tuple_type = types.NamedUniTuple(types.int64, count, kind)

        def generate(context, builder, signature, args):
            start = builder.inttoptr(args[0], _INT.as_pointer())
            numbers = [builder.load(builder.gep(start, [_INT(i)])) for i in range(count)]
            return cgutils.pack_array(builder, numbers)

        return tuple_type(types.int64), generate

    return frame_at


def frame_of(kind: Any, numbers: Mapping[str, int]) -> NDArray[np.int64]:
    """Return a frame in memory; what is not given is 0."""
    return np.array([numbers.get(name, 0) for name in kind._fields], np.int64)
