from __future__ import annotations

import sys

import numpy as np
import pytest

from tinytorch.kernels import registry
from tinytorch.native import builtin
from tinytorch.native.gemm import small
from tinytorch.native.gemm.product import CANNOT, DONE, FITS, SMALL

A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.arange(20, dtype=np.float32).reshape(4, 5)


class Labelled(np.ndarray):
    pass


def test_arrays_lie_where_compiled_code_reads_them():
    assert builtin.arrays_lie_as_expected()


def refused():
    out = np.zeros((3, 5), np.float32)
    unaligned = np.zeros(61, np.uint8)[1:].view(np.float32).reshape(3, 5)
    return {
        "nothing": (),
        "one": (A,),
        "four": (A, B, out, out),
        "none": (A, B, None),
        "numbers": (1, 2.0, "3"),
        "lists": ([[1.0]], [[1.0]], [[0.0]]),
        "a scalar": (np.float32(1), B, out),
        "a vector": (A[0], B, out),
        "a batch": (A[None], B, out),
        "float64": (A.astype(np.float64), B, out),
        "the other byte order": (A.astype(">f4"), B, out),
        "a subclass": (A.view(Labelled), B, out),
        "read-only": (A, B, np.broadcast_to(np.float32(0), (3, 5))),
        "unaligned": (A, B, unaligned),
        "shapes": (A, A, out),
        "an output's shape": (A, B, out[:, :4]),
        "an empty one": (A[:0], B, out[:0]),
        "overlap": (A[:, :3], np.ones((3, 3), np.float32), A[:, 1:]),
        "overlap backwards": (B, B.T[::-1, 1:4][:, ::-1], B[:, :3]),
    }


@pytest.mark.parametrize("name", refused())
def test_what_is_not_in_order_is_left_alone(name):
    arguments = refused()[name]
    before = [np.array(a) for a in arguments if isinstance(a, np.ndarray)]
    assert SMALL["f"](*arguments) == CANNOT
    after = [a for a in arguments if isinstance(a, np.ndarray)]
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


def test_answers_are_plain_numbers_and_references_are_counted():
    out = np.empty((3, 5), np.float32)
    counted = (A, B, out, DONE)
    before = [sys.getrefcount(x) for x in counted]
    for _ in range(1000):
        assert SMALL["f"](A, B, out) == DONE
    assert [sys.getrefcount(x) for x in counted] == before
    assert np.array_equal(out, A @ B)


def test_large_ones_are_left_to_the_general_product():
    a = np.ones((128, 128), np.float32)
    out = np.zeros((128, 128), np.float32)
    assert SMALL["f"](a, a, out) == FITS
    assert not out.any()


def test_where_arrays_lie_otherwise_the_general_product_is_used(monkeypatch):
    monkeypatch.setattr(builtin, "arrays_lie_as_expected", lambda: False)
    answer = small.small.__wrapped__("float32")
    assert answer(A, B, np.empty((3, 5), np.float32)) == CANNOT
    monkeypatch.setitem(SMALL, "f", answer)
    assert np.allclose(registry.get("matmul", "packed").function(A, B), A @ B)
