"""where: what the conformance run doesn't ask for."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import ShapeError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel

RUNGS = registry.ladder("where")
each_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)


@each_rung
def test_what_is_not_chosen_leaves_no_trace(rung: Kernel) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    plain = np.arange(4, dtype=np.float32)
    for held, expected in ((0, plain), (1, odd)):
        result = rung(odd, plain, np.full(4, held, np.int8))
        assert result.tobytes() == expected.tobytes()


@each_rung
def test_out_may_be_an_operand(rung: Kernel) -> None:
    a, condition = np.arange(6.0), np.array([1, 0, 256, 0, -1, 0])
    expected = [0, 7, 2, 7, 4, 7]
    assert rung(a.copy(), np.array(7.0), condition).tolist() == expected
    assert rung(a, np.array(7.0), condition, out=a).tolist() == expected
    wide = np.arange(7.0)
    rung(wide[1:], np.array(7.0), condition, out=wide[:-1])
    assert wide.tolist() == [1, 7, 3, 7, 5, 7, 6]
    wide = np.arange(7.0)
    rung(wide[:-1], np.array(7.0), condition, out=wide[1:])
    assert wide.tolist() == [0, 0, 7, 2, 7, 4, 7]


@each_rung
def test_shapes_that_do_not_broadcast(rung: Kernel) -> None:
    with pytest.raises(ShapeError, match=r"condition \(2,\)"):
        rung(np.ones(3), np.ones(3), np.ones(2, int), out=np.ones(3))
