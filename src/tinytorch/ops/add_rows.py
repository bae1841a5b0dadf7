"""add_rows: a table, with rows added to its rows of given numbers; the gradient of an embedding.

Where several rows have one number, all are added. Over a table of zeros it is what an embedding's
weights change by, for the gradients of what was looked up.

Shape letters: V rows of a table, N rows added to it, E their length.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide

SHAPES = {
    "one": (1, 1, 1),
    "tiny": (4, 9, 3),
    "empty": (4, 0, 3),
    "empty-table": (0, 0, 3),
    "empty-row": (4, 5, 0),
    "square": (64, 64, 64),
    "odd": (33, 200, 65),
    "tall": (1031, 300, 3),
    "wide": (3, 5, 1031),
    "many": (3, 2003, 5),
    "threads": (300, 700, 515),
}
LADDER = {
    "256x64": (256, 256, 64),
    "1024x256": (1024, 1024, 256),
    "8192x512": (8192, 8192, 512),
    "32768x768": (32768, 8192, 768),
}


def checked_numbers(numbers: Array, count: int) -> None:
    """Raise InvalidValue unless all numbers are rows of the table. It is a kernel's duty to ask."""
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        raise InvalidValue(
            f"add_rows' numbers must be from 0 to {count - 1} for a table of {count} rows, got "
            f"{numbers.min()} to {numbers.max()}"
        )


def _sizes(shapes: dict[str, tuple[int, int, int]]) -> tuple[Size, ...]:
    return tuple(Size(name, ((v, e), (n, e), (n,))) for name, (v, n, e) in shapes.items())


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    table, rows, numbers = shapes
    drawn = rng.integers(0, max(1, table[0]), numbers)
    return wide(rng, table, dtype), wide(rng, rows, dtype), drawn


def _reference(table: Array, rows: Array, numbers: Array) -> Array:
    result = table.copy()
    np.add.at(result, numbers, rows)
    return result


def _output_shape(shapes: Shapes) -> Shape:
    table, rows, numbers = shapes
    if len(table) != 2 or len(rows) != 2 or table[1] != rows[1] or numbers != rows[:1]:
        raise ShapeError(
            f"add_rows takes a table (V, E), rows (N, E) and their numbers (N,), got {table}, "
            f"{rows} and {numbers}"
        )
    return table


def _bound(reference: Array, table: Array, rows: Array, numbers: Array) -> Array:
    size, count = abs(table), np.zeros(table.shape[0])
    np.add.at(size, numbers, abs(rows))
    np.add.at(count, numbers, 1.0)
    return np.asarray(2.0 * np.sqrt(count)[:, None] * size)


OP = Op(
    name="add_rows",
    signature="(V, E), (N, E), (N,) -> (V, E)",
    reference=_reference,
    output_shape=_output_shape,
    # An addition for each element of the rows.
    flops=lambda shapes: math.prod(shapes[1]),
    draw_all=_draw_all,
    tolerance=Tolerance(
        "a sum of n rows and the table's own errs by 2 sqrt(n) eps of its terms' size, in whatever "
        "order they are added; without rows nothing is rounded",
        _bound,
    ),
    sizes=_sizes(SHAPES),
    ladder=_sizes(LADDER),
    indices=(2,),
)
