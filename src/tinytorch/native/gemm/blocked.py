"""The loops around the micro-kernel: blocks that stay in a cache each, packed or read in place.

A panel of B is meant for the first cache, a block of A (`rows` x `depth`) for the second, a block
of B (`depth` x `columns`) for the last. Each share of C is computed apart, with its own packed
blocks, so threads never wait for each other; and an element of C is the same sum in the same order
whatever the number of threads.

Shape letters: M, N, K of the product, of one share or block where a function is about one.
"""

from __future__ import annotations

from collections import namedtuple

from tinytorch.native.codecache import jit
from tinytorch.native.gemm import epilogue
from tinytorch.native.gemm.microkernel import LANES, MR, NR, TALL, tile_shape
from tinytorch.native.pointers import at, call, stack
from tinytorch.native.simd import like

# A matrix: its first element's address, and the elements from row to row and column to column.
View = namedtuple("View", "start row column")
# An operand as the micro-kernel reads it: the first panel's address, the elements from panel to
# panel; and within one from row (column, for B) to row, and from one k to the next.
Panels = namedtuple("Panels", "start apart across along")
# Blocks as above; what to pack (B: one of the three below); the addresses where packed blocks go.
Plan = namedtuple("Plan", "rows depth columns packs_a packs_b a_room b_room")
# C = alpha * A @ B + beta * C, then the epilogue.
Update = namedtuple("Update", "alpha beta finish")

# B is read where it lies, or packed block by block, or was packed as a whole beforehand: a panel
# then holds the whole depth, and the view's `row` leads from step to step, its `column` times NR
# from panel to panel.
IN_PLACE, PACKS, PACKED = 0, 1, 2

# The deepest B whose ragged last panel fits the room on the stack, where B is not packed.
DIRECT_DEPTH = 256

_TILE_ROOM = stack(lambda kind: tile_shape(kind).tall * tile_shape(kind).columns)
_PANEL_ROOM = stack(lambda kind: tile_shape(kind).columns * DIRECT_DEPTH)


@jit
def part(view, i, j):
    """Return the view that begins at (i, j)."""
    return View(at(view.start, i * view.row + j * view.column), view.row, view.column)


@jit
def even_step(rows, x, vectors):
    """Return the rows of a tile read in place, so that the last is not much lower than the rest."""
    high = MR(x) if vectors > 1 else TALL(x)
    tiles = (rows + high - 1) // high
    return (rows + tiles - 1) // tiles


@jit
def _add_old(tile, tile_row, c, sizes, keep):
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            tile[i * tile_row + j] += keep * c.start[i * c.row + j * c.column]


@jit
def _put(tile, tile_row, c, sizes):
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            c.start[i * c.row + j * c.column] = tile[i * tile_row + j]


@jit
def _strip(rows, step, vectors, a, b, depth, start, row, scales, finish, width, is_first, address):
    alpha, keep = scales
    call(
        address,
        rows,
        step,
        vectors,
        a.start,
        a.across,
        a.along,
        a.apart,
        b.start,
        b.along,
        depth,
        start,
        row,
        alpha,
        keep,
        finish.bias,
        finish.has_bias,
        width,
        finish.residual,
        finish.residual_row,
        finish.has_residual,
        finish.activation,
        is_first,
    )


@jit
def _strip_by_way_of_the_stack(a, b, c, sizes, step, update, routines):
    """Write a strip of C of which a row is part of a vector, or not of neighbours, tile by tile."""
    M, width, depth = sizes
    alpha, keep, finish = update
    tile, row, zero = _TILE_ROOM(alpha), NR(alpha), like(alpha, 0.0)
    vectors = (width + LANES(alpha) - 1) // LANES(alpha)
    nothing = epilogue.Finish(finish.bias, 0, finish.residual, finish.residual_row, 0, 0)
    for i in range(0, M, step):
        rows = min(step, M - i)
        here = Panels(at(a.start, i // step * a.apart), a.apart, a.across, a.along)
        place = part(c, i, 0)
        own = epilogue.moved(finish, i, 0)
        first = nothing if keep != zero else own
        _strip(
            rows,
            rows,
            vectors,
            here,
            b,
            depth,
            tile,
            row,
            (alpha, zero),
            first,
            width,
            0,
            routines.strip,
        )
        if keep != zero:
            _add_old(tile, row, place, (rows, width), keep)
            # Nothing more is multiplied: the old values are kept, and finished.
            _strip(
                rows,
                rows,
                vectors,
                here,
                b,
                0,
                tile,
                row,
                (zero, like(zero, 1.0)),
                own,
                width,
                0,
                routines.strip,
            )
        _put(tile, row, place, (rows, width))


@jit
def _multiply_panels(a, b, c, sizes, step, update, routines):
    """Multiply panels of A, `step` rows each, by panels of B into C; `sizes` is (M, N, K)."""
    M, N, K = sizes
    alpha, keep, finish = update
    wide, lanes = NR(alpha), LANES(alpha)
    for j in range(0, N, wide):
        width = min(wide, N - j)
        panel = Panels(at(b.start, j // wide * b.apart), b.apart, b.across, b.along)
        place = part(c, 0, j)
        own = epilogue.moved(finish, 0, j)
        if c.column == 1 and width % lanes == 0:
            _strip(
                M,
                step,
                width // lanes,
                a,
                panel,
                K,
                place.start,
                c.row,
                (alpha, keep),
                own,
                width,
                int(j == 0),
                routines.strip,
            )
        else:
            whole = Update(alpha, keep, own)
            _strip_by_way_of_the_stack(a, panel, place, (M, width, K), step, whole, routines)


@jit
def _rows_of_block(a, b, c, sizes, plan, update, routines):
    """Multiply A (M, K), packed block by block if the plan says so, by panels of B."""
    M, N, K = sizes
    tile_rows = MR(update.alpha)
    for i in range(0, M, plan.rows):
        m = min(plan.rows, M - i)
        here = part(a, i, 0)
        if plan.packs_a:
            step = tile_rows
            call(routines.pack, here.start, a.row, a.column, m, K, plan.a_room, 0)
            panels = Panels(plan.a_room, step * K, 1, step)
        else:
            step = even_step(m, update.alpha, 1 if LANES(update.alpha) >= N else 2)
            panels = Panels(here.start, step * a.row, a.row, a.column)
        own = Update(update.alpha, update.beta, epilogue.moved(update.finish, i, 0))
        _multiply_panels(panels, b, part(c, i, 0), (m, N, K), step, own, routines)


@jit
def _columns_of_block(a, b, c, sizes, plan, update, routines):
    """Multiply A by B (K, N), in place or packed; in place, a ragged last panel is packed alone."""
    M, N, K = sizes
    alpha = update.alpha
    wide = NR(alpha)
    if plan.packs_b == PACKED:
        panels = Panels(b.start, wide * b.column, 1, wide)
        _rows_of_block(a, panels, c, sizes, plan, update, routines)
        return
    packed, room = N, plan.b_room
    if plan.packs_b == IN_PLACE:
        packed, room = N % wide if N % LANES(alpha) else 0, _PANEL_ROOM(alpha)
    for packs in (False, True):
        first, n = (N - packed, packed) if packs else (0, N - packed)
        if n == 0:
            continue
        here = part(b, 0, first)
        panels = Panels(here.start, wide, b.column, b.row)
        if packs:
            call(routines.pack, here.start, b.column, b.row, n, K, room, 1)
            panels = Panels(room, wide * K, 1, wide)
        own = Update(alpha, update.beta, epilogue.moved(update.finish, 0, first))
        _rows_of_block(a, panels, part(c, 0, first), (M, n, K), plan, own, routines)


@jit
def multiply(a, b, c, sizes, plan, update, routines):
    """Write one share of C, `sizes` (M, N, K); K may be 0."""
    M, N, K = sizes
    alpha, beta, finish = update
    nothing = epilogue.Finish(finish.bias, 0, finish.residual, finish.residual_row, 0, 0)
    for j in range(0, N, plan.columns):
        n = min(plan.columns, N - j)
        for k in range(0, max(K, 1), plan.depth):
            depth = min(plan.depth, K - k)
            keep = beta if k == 0 else like(alpha, 1.0)
            is_last = k + depth >= K
            own = Update(alpha, keep, epilogue.moved(finish, 0, j) if is_last else nothing)
            _columns_of_block(
                part(a, 0, k), part(b, k, j), part(c, 0, j), (M, n, depth), plan, own, routines
            )


@jit
def multiply_in_place(a, b, c, sizes, one, strip):
    """Write C = A @ B for small matrices of which nothing is packed, as lean as it can be.

    N must be whole vectors, and the columns of B and C neighbours; `one` is 1 in the data's type.
    """
    M, N, K = sizes
    lanes, wide = LANES(one), NR(one)
    zero = like(one, 0.0)
    nothing = epilogue.Finish(c.start, 0, c.start, 0, 0, 0)
    for j in range(0, N, wide):
        vectors = min(wide, N - j) // lanes
        step = even_step(M, one, vectors)
        rows = Panels(a.start, step * a.row, a.row, a.column)
        panel = Panels(at(b.start, j), 0, 1, b.row)
        place = at(c.start, j)
        first, scales = int(j == 0), (one, zero)
        _strip(M, step, vectors, rows, panel, K, place, c.row, scales, nothing, 0, first, strip)
