"""The micro-kernel: one tile of C, held in vector registers while k runs over its whole depth.

A tile is MR rows by NR columns, that is MR * NR / lanes registers of sums. Each step of k loads one
row of B's panel as vectors and one element of A for each row, spread over a vector, and adds their
products to the sums: MR * NR multiply-adds for MR + NR / lanes loads. The sums are phis of vectors
in LLVM IR, because loops over small local arrays leave them in memory.

A is read by strides, one element at a time, so it is as fast unpacked as packed while it comes from
a near cache. Fewer rows than MR have kernels of their own; fewer columns are the caller's matter.

Shape letters: MR, NR of the tile; r, v the rows and vectors of one kernel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numpy.typing import DTypeLike

from tinytorch.native import level
from tinytorch.native.pointers import cgutils, intrinsic, prefetch, types

# Vectors in a row of the tile. With two, each element of A that is spread serves two products.
VECTORS = 2
# Steps of k from jump to jump in the largest tile, where A is packed.
UNROLL = 4
_INT = ir.IntType(64)


@dataclass(frozen=True)
class Tile:
    """The register tile for one data type: `rows` (MR) by `columns` (NR, two vectors)."""

    rows: int
    columns: int
    lanes: int

    @property
    def tall(self) -> int:
        """The rows of a tile one vector wide: enough for the sums in flight to hide their latency.

        With 16 registers that is 12, where the two vectors' 6 would leave half of them idle.
        """
        return max(self.rows, 12)


def tile_shape(dtype: DTypeLike) -> Tile:
    """Return the tile that fills the vector registers of the level `level.isa()`.

    Beside the sums there must be room for a row of B and for two spread elements of A (where there
    is no fused multiply-add, one of them holds the product): MR is 6 with 16 registers. With 32 it
    could be 14, but LLVM spreads more elements ahead then, and spills a sum; 12 are as fast, and
    leave fewer rows over.
    """
    lanes = level.lanes(dtype)
    rows = min(12, (level.register_count() - VECTORS - 2) // VECTORS)
    return Tile(rows, VECTORS * lanes, lanes)


def tile_constant(choose):
    """Make an intrinsic of a float x: the integer `choose(tile)` for the tile of x's type."""

    @intrinsic
    def constant(typing_context, x):
        if not isinstance(x, types.Float):
            return None
        value = choose(tile_shape(x.name))
        return types.int64(x), lambda context, builder, signature, args: _INT(value)

    return constant


MR = tile_constant(lambda tile: tile.rows)
TALL = tile_constant(lambda tile: tile.tall)
NR = tile_constant(lambda tile: tile.columns)
LANES = tile_constant(lambda tile: tile.lanes)


# ------------------------------------------------------------------------------ one tile as LLVM


@dataclass(frozen=True)
class _Places:
    """Where a step of k finds A's elements: addresses that move with k, and offsets from each.

    `are_hidden`: in each step LLVM is kept from seeing that the addresses move evenly.
    """

    starts: list[Any]
    offsets: list[Any]
    are_hidden: bool = False


def _opaque(builder: Any, value: Any) -> Any:
    """Return an integer that LLVM can't tell where it is from."""
    kind = ir.FunctionType(_INT, [_INT])
    return builder.asm(kind, "", "=r,0", [value], False)


def _hidden(builder: Any, place: Any) -> Any:
    """Return an address that LLVM can't tell where it is from."""
    return builder.inttoptr(_opaque(builder, builder.ptrtoint(place, _INT)), place.type)


def _by_strides(builder: Any, a: Any, a_row: Any, rows: int) -> _Places:
    """Return the places of A's rows, three from each address.

    NOTE: LLVM would go from row to row by additions, each of which waits for the one before: as
    many cycles a step as the multiply-adds take. So it is kept from seeing that rows are evenly
    apart.
    """
    item = 4 if isinstance(a.type.pointee, ir.FloatType) else 8
    number = builder.ptrtoint(a, _INT)
    starts = [a]
    for first in range(3, rows, 3):
        apart = builder.mul(a_row, _INT(first * item))
        place = _opaque(builder, builder.add(number, apart))
        starts.append(builder.inttoptr(place, a.type))
    offsets = [_opaque(builder, builder.mul(a_row, _INT(i))) for i in range(1, min(rows, 3))]
    return _Places(starts, [_INT(0), *offsets], are_hidden=True)


def repeated(
    builder: Any, count: Any, state: list[Any], body: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Run `body(state) -> state` `count` times, 0 included, with the state in registers."""
    entry = builder.block
    loop, done = (builder.append_basic_block(name) for name in ("loop", "done"))
    builder.cbranch(builder.icmp_signed(">", count, _INT(0)), loop, done)
    builder.position_at_end(loop)
    left = builder.phi(_INT)
    phis = [builder.phi(value.type) for value in state]
    now = body(phis)
    following, end = builder.sub(left, _INT(1)), builder.block
    for phi, first, new in ((left, count, following), *zip(phis, state, now, strict=True)):
        phi.add_incoming(first, entry)
        phi.add_incoming(new, end)
    builder.cbranch(builder.icmp_signed(">", following, _INT(0)), loop, done)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in state]
    for result, first, new in zip(results, state, now, strict=True):
        result.add_incoming(first, entry)
        result.add_incoming(new, end)
    return results


@dataclass(frozen=True)
class MicroKernel:
    """Writes the function for a tile of `rows` by `vectors` into an LLVM module."""

    module: Any
    real: Any
    lanes: int
    rows: int
    vectors: int

    @property
    def is_full(self) -> bool:
        """Whether this is the largest tile, in which large products spend their time."""
        return self.rows == tile_shape(f"float{self.bits}").rows and self.vectors == VECTORS

    @property
    def bits(self) -> int:
        return 32 if isinstance(self.real, ir.FloatType) else 64

    @property
    def vector(self) -> Any:
        return ir.VectorType(self.real, self.lanes)

    def function(self) -> Any:
        """Return void(a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep), written once."""
        name = f"tinytorch.tile.f{self.bits}.{self.rows}x{self.vectors * self.lanes}"
        if name in self.module.globals:
            return self.module.globals[name]
        pointer = self.real.as_pointer()
        operands = [pointer, _INT, _INT, pointer, _INT, _INT, pointer, _INT, self.real, self.real]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), operands), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        for i in (0, 3, 6):
            function.args[i].add_attribute("noalias")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._prefetch(builder, *function.args[6:8])
        sums = self._sum(builder, *function.args[:6])
        self._store(builder, sums, *function.args[6:])
        builder.ret_void()
        return function

    def _prefetch(self, builder: Any, c: Any, c_row: Any) -> None:
        """Ask for the tile of C now: it is needed when the sums are ready."""
        a_line = max(1, 64 // (self.lanes * self.bits // 8))
        for i in range(self.rows):
            row = self._row(builder, builder.gep(c, [builder.mul(c_row, _INT(i))]))
            for place in row[::a_line]:
                prefetch(builder, place, writes=True)

    def _multiply_add(self, builder: Any, x: Any, y: Any, z: Any) -> Any:
        # NOTE: fmuladd, not fma: at the level 'v128' x86-64 can't fuse, and fma would be a slow
        # call.
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{self.lanes}f{self.bits}"
        return builder.call(cgutils.get_or_insert_function(self.module, kind, name), [x, y, z])

    def _spread(self, builder: Any, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        index = ir.IntType(32)
        single = builder.insert_element(undefined, scalar, index(0))
        zeros = ir.Constant(ir.VectorType(index, self.lanes), None)
        return builder.shuffle_vector(single, undefined, zeros)

    def _row(self, builder: Any, start: Any) -> list[Any]:
        """Return the addresses of the vectors of a row."""
        places = [builder.gep(start, [_INT(j * self.lanes)]) for j in range(self.vectors)]
        return [builder.bitcast(place, self.vector.as_pointer()) for place in places]

    def _load(self, builder: Any, place: Any) -> Any:
        return builder.load(place, align=self.bits // 8)

    def _sum(
        self, builder: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, depth: Any
    ) -> list[Any]:
        """Run k over the depth (which may be 0); return the sums, row by row."""
        strides = a_row, a_step, b_step
        if not self.is_full:
            places = _by_strides(builder, a, a_row, self.rows)
            return self._over_depth(builder, places, b, strides, depth)
        # Packed as this tile takes it, A is read at offsets known now.
        packed = builder.and_(
            builder.icmp_signed("==", a_row, _INT(1)),
            builder.icmp_signed("==", a_step, _INT(self.rows)),
        )
        with builder.if_else(packed) as (by_offsets, by_strides):
            with by_offsets:
                places = _Places([a], [_INT(i) for i in range(self.rows)])
                known = _INT(1), _INT(self.rows), b_step
                offset_sums = self._over_depth(builder, places, b, known, depth, UNROLL)
                offset_end = builder.block
            with by_strides:
                places = _by_strides(builder, a, a_row, self.rows)
                stride_sums = self._over_depth(builder, places, b, strides, depth)
                stride_end = builder.block
        results = [builder.phi(self.vector) for _ in offset_sums]
        for result, one, other in zip(results, offset_sums, stride_sums, strict=True):
            result.add_incoming(one, offset_end)
            result.add_incoming(other, stride_end)
        return results

    def _over_depth(
        self,
        builder: Any,
        places: _Places,
        b: Any,
        strides: tuple[Any, Any, Any],
        depth: Any,
        unroll: int = 1,
    ) -> list[Any]:
        """Run k over the depth, `unroll` steps at a time, then one by one."""
        state = [*places.starts, b]
        state += [ir.Constant(self.vector, None)] * (self.rows * self.vectors)

        def steps(count: int, now: list[Any]) -> list[Any]:
            for _ in range(count):
                now = self._step(builder, places, now, strides)
            return now

        if unroll > 1:
            whole = builder.sdiv(depth, _INT(unroll))
            state = repeated(builder, whole, state, functools.partial(steps, unroll))
            depth = builder.srem(depth, _INT(unroll))
        state = repeated(builder, depth, state, functools.partial(steps, 1))
        return state[len(places.starts) + 1 :]

    def _step(
        self, builder: Any, places: _Places, state: list[Any], strides: tuple[Any, Any, Any]
    ) -> list[Any]:
        """Take one step of k: load a row of B, and add it to each row's sums, A's times it."""
        _, a_step, b_step = strides
        groups = len(places.starts)
        starts, b_here, sums = state[:groups], state[groups], state[groups + 1 :]
        if places.are_hidden:
            # NOTE: else LLVM keeps an address for every row, more than there are registers.
            starts = [_hidden(builder, start) for start in starts]
        b_row = [self._load(builder, place) for place in self._row(builder, b_here)]
        added: list[Any] = []
        for i in range(self.rows):
            group, offset = divmod(i, len(places.offsets))
            element = self._load(builder, builder.gep(starts[group], [places.offsets[offset]]))
            spread = self._spread(builder, element)
            for vector in b_row:
                added.append(self._multiply_add(builder, spread, vector, sums[len(added)]))
        moved = [builder.gep(start, [a_step]) for start in starts]
        return [*moved, builder.gep(b_here, [b_step]), *added]

    def _store(
        self, builder: Any, sums: list[Any], c: Any, c_row: Any, alpha: Any, keep: Any
    ) -> None:
        """Write C = alpha * sums + keep * C; where keep is 0, C is not read."""
        alphas, keeps = self._spread(builder, alpha), self._spread(builder, keep)
        starts = [builder.gep(c, [builder.mul(c_row, _INT(i))]) for i in range(self.rows)]
        places = [place for start in starts for place in self._row(builder, start)]
        fresh = builder.fcmp_ordered("==", keep, ir.Constant(self.real, 0.0))
        with builder.if_else(fresh) as (write, update):
            with write:
                for place, total in zip(places, sums, strict=True):
                    builder.store(builder.fmul(alphas, total), place, align=self.bits // 8)
            with update:
                for place, total in zip(places, sums, strict=True):
                    scaled = builder.fmul(alphas, total)
                    value = self._multiply_add(builder, keeps, self._load(builder, place), scaled)
                    builder.store(value, place, align=self.bits // 8)


@intrinsic
def multiply_tile(
    typing_context, rows, vectors, a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep
):
    """Write C = alpha * A @ B + keep * C for one tile of `rows` by `vectors` (2, or 1).

    Two vectors wide, a tile has 1 … MR rows; one vector wide, 1 … TALL.

    a, b and c are addresses of alpha's type: A's element (i, k) is a[i * a_row + k * a_step], B's
    (k, j) is b[k * b_step + j], C's (i, j) is c[i * c_row + j]. Whole vectors are read and written.
    """
    pointer, integer = types.CPointer(alpha), types.int64
    if not isinstance(alpha, types.Float) or not a == b == c == pointer:
        return None
    tile = tile_shape(alpha.name)

    def generate(context, builder, signature, args):
        real = context.get_value_type(alpha)
        key = builder.add(builder.mul(args[0], _INT(VECTORS)), args[1])
        none, end = (builder.append_basic_block(name) for name in ("tile.none", "tile.end"))
        choice = builder.switch(key, none)
        for r, v in itertools.product(range(1, tile.tall + 1), range(1, VECTORS + 1)):
            if v > 1 and r > tile.rows:
                continue
            block = builder.append_basic_block("tile")
            choice.add_case(_INT(r * VECTORS + v), block)
            builder.position_at_end(block)
            kernel = MicroKernel(builder.module, real, tile.lanes, r, v)
            builder.call(kernel.function(), args[2:])
            builder.branch(end)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(end)
        return context.get_dummy_value()

    sizes = (integer, integer)
    return types.void(
        *sizes, pointer, *sizes, pointer, *sizes, pointer, integer, alpha, alpha
    ), generate
