"""The ways to multiply codes and sum them in int32, and the register tile that suits each.

A *dot* adds to each int32 of a vector the products of one *group*: 4 bytes of an activation row,
the same for every column, by 4 bytes of weights for each column. A group is four pairs of codes
(unsigned activations by int8 weights), or two where both are widened to int16 beforehand.

| dot | instruction | activations | group |
|---|---|---|---|
| vnni | `vpdpbusd` | 0 … 255 | 4 |
| emulated | the same in plain shifts and products, on any CPU | 0 … 255 | 4 |
| maddubs | `vpmaddubsw`, sums in int16 for as long as they fit | 0 … 127 | 4 |
| int16 | `vpmaddwd` | -32768 … 32767 | 2 |
| portable | the same in plain shifts and products, on any CPU | -32768 … 32767 | 2 |

Every one is exact. `vpmaddubsw` saturates where two products pass int16, so its activations keep to
7 bits: 2 * 127 * 127 = 32,258 fits, 2 * 255 * 127 does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinytorch.native import level

# The dots, as TINYTORCH_INT8 names them.
NAMES = ("vnni", "emulated", "maddubs", "int16", "portable")
# The groups in one record of packed weights of maddubs: what one sum in int16 may hold.
RECORD_GROUPS = 4
_INT = ir.IntType(32)


@dataclass(frozen=True)
class Dot:
    """A dot and its register tile: `rows` of activations by `vectors` of `lanes` columns.

    `group` is the pairs of codes in one step, `top` the largest unsigned activation code, and
    `groups` the steps between which the depth must be a whole number.
    """

    name: str
    rows: int
    vectors: int
    lanes: int
    group: int
    top: int
    groups: int = 1

    @property
    def columns(self) -> int:
        """The columns of a tile, and of a panel of packed weights."""
        return self.vectors * self.lanes

    @property
    def finished_rows(self) -> int:
        """The rows of the tiles above each other whose sums are settled together."""
        return max(4, 16 // self.rows) * self.rows

    @property
    def code_bytes(self) -> int:
        """The bytes of one packed code: 4 bytes hold a group."""
        return 4 // self.group

    def padded(self, depth: int) -> int:
        """Return the depth that packed operands have, with zeros after the last code."""
        return self.steps(depth) * self.group * self.groups

    def steps(self, depth: int) -> int:
        """Return the steps of a tile over a depth, 1 at least."""
        return max(1, -(-depth // (self.group * self.groups)))


def dot_named(name: str) -> Dot:
    """Return a dot with the tile that fills the vector registers of `level.isa()`."""
    lanes, registers = level.vector_bytes() // 4, level.register_count()
    if name == "maddubs":
        # Beside 8 sums: four vectors of activations, two in int16, ones. Instructions bind it, and
        # wide tiles spread each activation for more of them; longer panels leave the first cache.
        rows, vectors = (2, 4) if lanes <= 8 else (4, 2)
        return Dot(name, rows, vectors, lanes, group=4, top=127, groups=RECORD_GROUPS)
    group, top = (4, 255) if name in ("vnni", "emulated") else (2, 255)
    # Of 32 registers 14 rows would fill more, and reach the same peak; but 8 divide what rows there
    # are: of 16, 64 or 128, none of a last tile's are computed for nothing.
    rows = min(8, (registers - 4) // 2)
    return Dot(name, rows, 2, lanes, group, top)


def fastest() -> Dot:
    """Return the dot for quantised activations on this CPU, or the one TINYTORCH_INT8 forces."""
    return dot_named(level.int8())


def fastest_full() -> Dot:
    """Return the fastest dot that takes activations of 8 bits: never maddubs."""
    name = level.int8()
    return dot_named("int16" if name == "maddubs" else name)


# ------------------------------------------------------------------------------ in LLVM IR


def _intrinsic(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, args)


def _like(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def _halves(builder: Any, x: Any) -> list[Any]:
    """Return the low and the high int16 of every int32, widened."""
    sixteen = _like(x.type, 16)
    return [builder.ashr(builder.shl(x, sixteen), sixteen), builder.ashr(x, sixteen)]


def _portable(builder: Any, total: Any, a: Any, b: Any) -> Any:
    for x, y in zip(_halves(builder, a), _halves(builder, b), strict=True):
        total = builder.add(total, builder.mul(x, y))
    return total


def _emulated(builder: Any, total: Any, a: Any, b: Any) -> Any:
    vector = total.type
    for i in range(4):
        x = builder.and_(builder.lshr(a, _like(vector, 8 * i)), _like(vector, 255))
        y = builder.ashr(builder.shl(b, _like(vector, 24 - 8 * i)), _like(vector, 24))
        total = builder.add(total, builder.mul(x, y))
    return total


def _vnni(builder: Any, total: Any, a: Any, b: Any) -> Any:
    name = f"llvm.x86.avx512.vpdpbusd.{32 * total.type.count}"
    octets = ir.VectorType(ir.IntType(8), 4 * total.type.count)
    operands = (builder.bitcast(x, octets) for x in (a, b))
    return _intrinsic(builder, name, total.type, total, *operands)


_MADD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}
_MADDUBS = {
    4: "llvm.x86.ssse3.pmadd.ub.sw.128",
    8: "llvm.x86.avx2.pmadd.ub.sw",
    16: "llvm.x86.avx512.pmaddubs.w.512",
}


def pairs_added(builder: Any, words: Any) -> Any:
    """Return a vector of int32: the sums of neighbouring int16."""
    return _madd(builder, words, _like(words.type, 1))


def _madd(builder: Any, x: Any, y: Any) -> Any:
    lanes = x.type.count // 2
    return _intrinsic(builder, _MADD[lanes], ir.VectorType(_INT, lanes), x, y)


def _int16(builder: Any, total: Any, a: Any, b: Any) -> Any:
    words = ir.VectorType(ir.IntType(16), 2 * total.type.count)
    return builder.add(total, _madd(builder, builder.bitcast(a, words), builder.bitcast(b, words)))


def products_of_bytes(builder: Any, a: Any, b: Any) -> Any:
    """Return int16s: for each pair of bytes, unsigned a by signed b, added; a is 7 bits."""
    lanes = a.type.count
    octets = ir.VectorType(ir.IntType(8), 4 * lanes)
    words = ir.VectorType(ir.IntType(16), 2 * lanes)
    operands = (builder.bitcast(x, octets) for x in (a, b))
    return _intrinsic(builder, _MADDUBS[lanes], words, *operands)


EMIT = {"vnni": _vnni, "emulated": _emulated, "int16": _int16, "portable": _portable}
