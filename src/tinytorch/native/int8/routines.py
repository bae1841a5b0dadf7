"""The routines under the loops, each compiled once and called by address.

Which of them a product needs depends on its dot and on the types of what goes in and comes out;
only those are compiled.
"""

from __future__ import annotations

import functools
from typing import Any

from tinytorch.native.codecache import c_function
from tinytorch.native.int8 import finish, rows
from tinytorch.native.int8.tile import tile_of
from tinytorch.native.pointers import bytes_at, ints_at, types

_vnni, _emulated, _maddubs = tile_of("vnni"), tile_of("emulated"), tile_of("maddubs")
_int16, _portable = tile_of("int16"), tile_of("portable")


def _tile_vnni(a, a_row, b, kinds, steps, out):
    _vnni(bytes_at(a), a_row, bytes_at(b), bytes_at(kinds), steps, ints_at(out))


def _tile_emulated(a, a_row, b, kinds, steps, out):
    _emulated(bytes_at(a), a_row, bytes_at(b), bytes_at(kinds), steps, ints_at(out))


def _tile_maddubs(a, a_row, b, kinds, steps, out):
    _maddubs(bytes_at(a), a_row, bytes_at(b), bytes_at(kinds), steps, ints_at(out))


def _tile_int16(a, a_row, b, kinds, steps, out):
    _int16(bytes_at(a), a_row, bytes_at(b), bytes_at(kinds), steps, ints_at(out))


def _tile_portable(a, a_row, b, kinds, steps, out):
    _portable(bytes_at(a), a_row, bytes_at(b), bytes_at(kinds), steps, ints_at(out))


# NOTE: a function for each dot, for the cache on disk tells functions apart by their names.
_TILES = {
    "vnni": _tile_vnni,
    "emulated": _tile_emulated,
    "maddubs": _tile_maddubs,
    "int16": _tile_int16,
    "portable": _tile_portable,
}
_ROWS = {
    ("float32", 1): rows.quantise_bytes,
    ("float32", 2): rows.quantise_words,
    ("int8", 1): rows.shift_bytes,
    ("int8", 2): rows.shift_words,
}


@functools.cache
def _tile(dot: str) -> Any:
    return c_function(_TILES[dot], types.void(*(types.int64,) * 6))


@functools.cache
def _prepare(source: str, code_bytes: int) -> Any:
    size, real = types.int64, types.float64
    return c_function(_ROWS[source, code_bytes], types.void(*(size,) * 5, real, real, *(size,) * 4))


@functools.cache
def _finish(target: str) -> Any:
    function = finish.to_floats if target == "float32" else finish.to_integers
    return c_function(function, types.void(*(types.int64,) * 12))


def tile_address(dot: str) -> int:
    """Return the address of a dot's tile alone, compiled if need be."""
    return int(_tile(dot).address)


def addresses(dot: str, code_bytes: int, source: str, target: str) -> tuple[int, int, int]:
    """Return the addresses of the routines for a product, compiled if need be.

    `source` is "float32" or "int8", `target` "float32" or "int32".
    """
    found = _prepare(source, code_bytes), _tile(dot), _finish(target)
    return tuple(routine.address for routine in found)
