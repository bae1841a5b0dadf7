"""Sparse weights: exact in both directions, equal for any number of threads, checked."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels import registry
from tinytorch.kernels.sparse import SparseWeight, blocks, csr, sparse_linear
from tinytorch.native import level, threads
from tinytorch.native.sparse.tile import ROWS, vectors_for
from tinytorch.ops.verify import verify

BLOCKS = [(1, 1), (1, 16), (2, 3), (4, 16), (8, 5), (4, 1)]


def layer(M: int = 33, K: int = 75, N: int = 43, zeros: float = 0.8):
    rng = np.random.default_rng([M, K, N])
    x = rng.standard_normal((M, K)).astype(np.float32)
    w = rng.standard_normal((K, N)).astype(np.float32) * (rng.random((K, N)) >= zeros)
    return x, w.astype(np.float32), rng.standard_normal(N).astype(np.float32)


def checked(x: np.ndarray, weight: SparseWeight, b: np.ndarray, y: np.ndarray) -> None:
    arrays = (x, weight.values, weight.columns, weight.starts, b)
    verify(ops.get("sparse_linear"), arrays, y).require("sparse_linear")


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("K", "N"), [(75, 43), (64, 32), (3, 2), (1, 1), (0, 5), (5, 0)])
@pytest.mark.parametrize("zeros", [0.0, 0.8, 1.0])
def test_a_weight_comes_back_as_it_was(
    block: tuple[int, int], K: int, N: int, zeros: float
) -> None:
    _, w, _ = layer(1, K, N, zeros)
    weight = blocks(w, block)
    assert np.array_equal(weight.dense(), w)
    assert weight.sparsity == pytest.approx(float((w == 0).mean()) if w.size else 0.0)
    assert weight.block == (block[0], min(block[1], max(K, 1)))


# Every tile: the vectors that hold so many tokens, whole and with some to spare.
TOKENS = sorted(
    {v * level.lanes("float32") - d for r in ROWS for v in vectors_for(r) for d in (0, 1)}
)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("M", [1, 3, *TOKENS, 200])
def test_products_are_right_for_every_tile(block: tuple[int, int], M: int) -> None:
    x, w, b = layer(M)
    weight = blocks(w, block)
    checked(x, weight, b, sparse_linear(x, weight, b))


@pytest.mark.parametrize("block", [(1, 1), (4, 16)])
@pytest.mark.parametrize("M", [5, 64, 700])
def test_threads_do_not_change_the_result(block: tuple[int, int], M: int) -> None:
    x, w, b = layer(M, 300, 130, 0.5)
    weight = blocks(w, block)
    count = threads.get_num_threads()
    expected = sparse_linear(x, weight, b)
    try:
        for n in (1, 2):
            threads.set_num_threads(min(n, count))
            assert np.array_equal(sparse_linear(x, weight, b), expected)
    finally:
        threads.set_num_threads(count)


def test_any_rank_layout_and_out() -> None:
    x, w, b = layer()
    weight = csr(w)
    expected = sparse_linear(x, weight, b)
    assert np.array_equal(sparse_linear(x[4], weight, b), sparse_linear(x[4:5], weight, b)[0])
    assert np.array_equal(sparse_linear(x.reshape(3, 11, -1), weight, b).reshape(33, -1), expected)
    assert np.array_equal(sparse_linear(np.asfortranarray(x), weight, b), expected)
    none = np.zeros_like(b)
    assert np.array_equal(sparse_linear(x, weight), sparse_linear(x, weight, none))
    out = np.empty((33, 86), np.float32)[:, ::2]
    assert sparse_linear(x, weight, b, out) is out
    assert np.array_equal(out, expected)
    square = csr(np.eye(75, dtype=np.float32) * 2)
    assert np.array_equal(sparse_linear(x, square, None, out=(y := x.copy())), 2 * x)
    assert np.array_equal(sparse_linear(y, square, None, out=y), 4 * x)


def test_memory_is_what_is_kept() -> None:
    _, w, _ = layer(1, 256, 128, 0.9)
    weight = csr(w)
    count = np.count_nonzero(w)
    assert weight.nbytes == 8 * count + 8 * 129
    whole = blocks(np.ones((32, 8), np.float32), (4, 16))
    assert whole.nbytes == 4 * 256 + 4 * 4 + 8 * 3
    assert (whole.kept, whole.sparsity) == (1.0, 0.0)


def test_what_does_not_fit_is_refused() -> None:
    x, w, b = layer()
    weight = csr(w)
    with pytest.raises(ShapeError, match="75 inputs"):
        sparse_linear(x[:, 1:], weight)
    with pytest.raises(ShapeError, match="bias must have shape"):
        sparse_linear(x, weight, b[1:])
    with pytest.raises(UnsupportedInput, match="takes float32"):
        sparse_linear(x.astype(np.float64), weight)
    with pytest.raises(ShapeError, match="out must have shape"):
        sparse_linear(x, weight, out=np.empty((1, 1), np.float32))
    with pytest.raises(ShapeError, match=r"\(inputs, outputs\)"):
        csr(b)
    for block in ((3, 16), (4, 0)):
        with pytest.raises(InvalidValue, match="a block spans"):
            blocks(w, block)


@pytest.mark.parametrize("name", ["naive", "unfused", "compiled", "packed"])
def test_blocks_outside_the_weight_are_refused(name: str) -> None:
    x, w, b = layer()
    weight = blocks(w, (4, 16))
    function = registry.get("sparse_linear", name).function
    for change, told in (
        ({"columns": weight.columns + 60}, "columns must be 0 to 59"),
        ({"columns": weight.columns - 1}, "columns must be"),
        ({"starts": weight.starts[::-1].copy()}, "starts must rise"),
        ({"starts": weight.starts + 1}, "starts must rise"),
    ):
        parts = {"values": weight.values, "columns": weight.columns, "starts": weight.starts}
        with pytest.raises(InvalidValue, match=told):
            function(x, *{**parts, **change}.values(), b)
