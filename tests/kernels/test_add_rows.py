"""add_rows: what the conformance run doesn't ask for."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.native.threads import usable_cpus, use_threads

RNG = np.random.default_rng(0)
RUNGS = registry.ladder("add_rows")


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
@pytest.mark.parametrize("numbers", [[0, 4], [-1, 0]])
def test_numbers_outside_of_the_table_are_refused(rung: Kernel, numbers: list[int]) -> None:
    table = np.ones((4, 3), np.float32)
    with pytest.raises(InvalidValue, match="from 0 to 3"):
        rung(table, np.ones((2, 3), np.float32), np.array(numbers), out=table)
    assert (table == 1).all()


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_in_place_and_over_the_rows_themselves(rung: Kernel) -> None:
    table, rows = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 3))
    numbers = np.array([1, 1, 0, 4, 1], np.int32)
    expected = rung(table, rows, numbers)
    over = rows.copy()
    assert rung(table, over, numbers, out=over) is over
    np.testing.assert_array_equal(over, expected)
    np.testing.assert_array_equal(rung(table, RNG.permutation(rows) * 0, numbers), table)
    assert rung(table, np.zeros((5, 3)), numbers, out=table) is table


def test_threads_change_no_bit() -> None:
    numbers = RNG.integers(0, 7, 5000)
    rows = RNG.standard_normal((5000, 100)).astype(np.float32)
    table, found = np.zeros((7, 100), np.float32), []
    for count in range(1, usable_cpus() + 1):
        with use_threads(count):
            found.append(registry.get("add_rows", "parallel")(table, rows, numbers))
    expected = table.copy()
    np.add.at(expected, numbers, rows)
    for result in found:
        np.testing.assert_array_equal(result, expected)


def test_shapes_are_refused() -> None:
    for shapes in (((4, 3), (2, 2), (2,)), ((4, 3), (2, 3), (3,)), ((4,), (2,), (2,))):
        with pytest.raises(ShapeError, match="table"):
            registry.get("add_rows", "vectorised")(
                np.ones(shapes[0]), np.ones(shapes[1]), np.zeros(shapes[2], int)
            )
