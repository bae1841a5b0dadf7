"""sparse_linear: Y = X @ W + b, where only the blocks of W that are not 0 are there.

W is given by its blocks: values (P, W, R), a block's weights input by input; columns (P,), the
first input of each; starts (N / R rounded up, + 1), the first block of each R outputs, then P.
R = W = 1 is CSR. Blocks that share a place add up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide


def _output_shape(shapes: Shapes) -> Shape:
    x, values, columns, starts, b = shapes
    if not x or len(values) != 3 or len(b) != 1:
        raise ShapeError(
            f"sparse_linear takes x (..., K), values (P, W, R) and b (N,), got {x}, {values}, {b}"
        )
    rows = -(-b[0] // values[2]) if values[2] else 0
    if columns != values[:1] or starts != (rows + 1,) or not values[1] or not values[2]:
        raise ShapeError(
            f"sparse_linear takes a column for each of values' {values[0]} blocks of 1 x 1 or "
            f"more, and {rows + 1} starts for {b[0]} outputs; got columns {columns}, starts "
            f"{starts}, blocks {values[1:]}"
        )
    return (*x[:-1], b[0])


def check_blocks(values: Array, columns: Array, starts: Array, inputs: int) -> None:
    """Raise InvalidValue unless all blocks lie inside the weight. It is a kernel's duty to ask."""
    P, W, _ = values.shape
    if starts[0] != 0 or starts[-1] != P or (np.diff(starts) < 0).any():
        raise InvalidValue(f"sparse_linear's starts must rise from 0 to {P}, the number of blocks")
    if P and (columns.min() < 0 or int(columns.max()) + W > inputs):
        raise InvalidValue(
            f"sparse_linear's columns must be 0 to {inputs - W}: blocks of {W} of {inputs} inputs; "
            f"got {columns.min()} to {columns.max()}"
        )


def dense_of(values: Array, columns: Array, starts: Array, inputs: int) -> Array:
    """Return (inputs, outputs) with the blocks at their places, zeros elsewhere; overlaps add up.

    Outputs are a multiple of R.
    """
    _, W, R = values.shape
    turned = np.zeros(((len(starts) - 1) * R, inputs), values.dtype)
    outputs = np.repeat(np.arange(len(starts) - 1) * R, np.diff(starts))
    at = (outputs[:, None, None] + np.arange(R), columns[:, None, None] + np.arange(W)[:, None])
    np.add.at(turned, at, values)
    return turned.T


def _flops(shapes: Shapes) -> int:
    tokens = math.prod(_output_shape(shapes)[:-1])
    return tokens * (2 * math.prod(shapes[1]) + shapes[4][0])


def _reference(x: Array, values: Array, columns: Array, starts: Array, b: Array) -> Array:
    dense = dense_of(values, columns, starts, x.shape[-1])[:, : len(b)]
    return np.asarray(np.matmul(x, dense) + b)


def _bound(
    reference: Array, x: Array, values: Array, columns: Array, starts: Array, b: Array
) -> Array:
    terms = np.repeat(np.diff(starts) * values.shape[1], values.shape[2])[: len(b)]
    size = _reference(np.abs(x), np.abs(values), columns, starts, np.abs(b))
    return np.asarray(2.0 * np.sqrt(terms + 1.0) * size)


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    x, values, _, starts, b = shapes
    P, W, _ = values
    cuts = np.sort(rng.integers(0, P, max(0, starts[0] - 2), endpoint=True))
    ends = np.array([0, *cuts, P][: starts[0]], np.int64)
    columns = rng.integers(0, max(x[-1] - W, 0), P, np.int64, endpoint=True)
    drawn = (wide(rng, shape, dtype) for shape in (x, values, b))
    given, weights, bias = drawn
    return given, weights, columns, ends, bias


def sparse_size(name: str, batch: Shape, sizes: tuple[int, int], block: Shape, count: int) -> Size:
    """Return a size: `count` blocks (R outputs, W inputs) of a weight of sizes (K, N)."""
    (K, N), (R, W) = sizes, block
    return Size(name, ((*batch, K), (count, W, R), (count,), (-(-N // R) + 1,), (N,)))


def _ladder_size(tokens: int, block: Shape, density: float) -> Size:
    K, N = 768, 3072
    count = round(density * K * N / math.prod(block))
    name = f"{tokens}x{K}x{N}/{block[0]}x{block[1]}@{1 - density:.0%}"
    return sparse_size(name, (tokens,), (K, N), block, count)


OP = Op(
    name="sparse_linear",
    signature="(..., K), (P, W, R), (P,), (N/R+1,), (N,) -> (..., N)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "as matmul's, over the terms that are there: 2 sqrt(terms + 1) eps (|X||W| + |b|)", _bound
    ),
    sizes=(
        sparse_size("one", (1,), (1, 1), (1, 1), 1),
        sparse_size("vector", (), (7, 5), (1, 1), 11),
        sparse_size("empty-rows", (0,), (4, 5), (1, 1), 6),
        sparse_size("empty-k", (3,), (0, 5), (1, 1), 0),
        sparse_size("no-blocks", (3,), (9, 5), (2, 4), 0),
        sparse_size("square", (32,), (32, 32), (4, 16), 8),
        sparse_size("tall", (197,), (5, 3), (1, 1), 9),
        sparse_size("prime", (37,), (41, 43), (2, 3), 101),
        sparse_size("odd", (33,), (17, 65), (8, 16), 7),
        sparse_size("row-blocks", (66,), (70, 67), (1, 16), 90),
        sparse_size("deep", (9,), (700, 50), (4, 16), 300),
        sparse_size("tokens", (2, 5), (24, 40), (1, 1), 190),
    ),
    ladder=(
        sparse_size("32x64x64/1x1@80%", (32,), (64, 64), (1, 1), 819),
        _ladder_size(128, (1, 1), 0.2),
        _ladder_size(1024, (1, 1), 0.2),
        _ladder_size(128, (4, 16), 0.2),
        _ladder_size(1024, (4, 16), 0.2),
    ),
    dtypes=("float32",),
    draw_all=_draw_all,
    indices=(2, 3),
)
