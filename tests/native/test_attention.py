from __future__ import annotations

import itertools
import threading
import tracemalloc

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels import registry
from tinytorch.kernels.attending import attend, attend_gradient, attend_ragged
from tinytorch.native import threads
from tinytorch.ops.spec import LAYOUTS, laid_out
from tinytorch.ops.verify import verify

DTYPES = ("float32", "float64")
OP, MASKED, GRADIENT = (ops.get(n) for n in ("attention", "masked_attention", "attention_gradient"))


def inputs(shapes, dtype="float32", op=OP, seed=0):
    return op.inputs(shapes, dtype, seed=seed)


def lengths_of(Tq, Tk, d, e, batch=(2,)):
    return (*batch, Tq, d), (*batch, Tk, d), (*batch, Tk, e)


def as_mask(keep):
    return keep.astype(np.int64)


# ------------------------------------------------------------------------------------- the forward


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "sizes", [(300, 300, 64, 40), (130, 700, 16, 16), (290, 140, 5, 33), (2, 600, 20, 24)]
)
def test_several_groups_and_blocks(sizes, causal, dtype):
    arrays = inputs(lengths_of(*sizes), dtype)
    verify(OP, arrays, attend(*arrays, causal=causal), {"causal": causal}).require("attend")


def test_the_bound_refuses_half_precision():
    arrays = inputs(lengths_of(60, 60, 32, 32))
    rounded = [array.astype(np.float16).astype(array.dtype) for array in arrays]
    assert not verify(OP, arrays, attend(*rounded)).ok


@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, repeat=2)), ids="-".join)
@pytest.mark.parametrize("Tq", [1, 31])
def test_every_layout_of_inputs_and_output(layouts, Tq):
    arrays = inputs(lengths_of(Tq, 41, 12, 20))
    others = [laid_out(array, layouts[0]) for array in arrays]
    out = laid_out(np.full((2, Tq, 20), np.nan, np.float32), layouts[1])
    assert attend(*others, out) is out
    verify(OP, arrays, out).require("attend")


def test_heads_as_transposed_views():
    flat = [np.random.default_rng(i).standard_normal((2, 33, 3 * 8)) for i in range(3)]
    heads = [array.reshape(2, 33, 3, 8).transpose(0, 2, 1, 3) for array in flat]
    out = np.empty((2, 33, 3, 8))
    attend(*heads, out.transpose(0, 2, 1, 3))
    assert np.array_equal(out.transpose(0, 2, 1, 3), attend(*map(np.ascontiguousarray, heads)))


def test_broadcast_batch_axes():
    q, k, v = inputs(((2, 3, 9, 4), (2, 1, 11, 4), (11, 6)))
    verify(OP, (q, k, v), attend(q, k, v)).require("attend")


@pytest.mark.parametrize("count", [1, threads.usable_cpus()])
def test_threads_change_nothing(count):
    arrays = inputs(lengths_of(260, 260, 32, 32, (5,)))
    with threads.use_threads(1):
        alone = attend(*arrays, causal=True)
    with threads.use_threads(count):
        assert np.array_equal(attend(*arrays, causal=True), alone)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 70, 290), (70, 290), (2, 1, 1, 290), (3, 70, 1), (290,)])
def test_masks_of_every_shape(shape, causal):
    q, k, v = inputs(lengths_of(70, 290, 8, 8, (2, 3)))
    keep = np.random.default_rng(1).random(shape) < 0.4
    whole = as_mask(np.broadcast_to(keep, (2, 3, 70, 290)))
    params = {"causal": causal}
    for mask in (keep, keep.astype(np.float32), keep[..., ::-1][..., ::-1]):
        out = attend(q, k, v, mask=mask, causal=causal)
        verify(MASKED, (q, k, v, whole), out, params).require("attend with a mask")


@pytest.mark.parametrize("Tq", [1, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_lengths_are_as_if_the_rest_were_not_there(Tq, causal):
    q, k, v = inputs(lengths_of(Tq, 300, 16, 16, (4, 2)))
    lengths = [300, 0, 77, 1]
    out = attend(q, k, v, lengths=lengths, causal=causal)
    for b, n in enumerate(lengths):
        own = attend(q[b], k[b, :, :n], v[b, :, :n], causal=causal)
        assert np.array_equal(out[b], own)


@pytest.mark.parametrize("causal", [False, True])
def test_ragged_is_each_sequence_alone(causal):
    lengths = [5, 0, 130, 64, 1]
    starts = np.cumsum([0, *lengths])
    q, k, v = (a.transpose(1, 0, 2) for a in inputs(lengths_of(200, 200, 16, 24, (3,))))
    out = attend_ragged(q, k, v, starts, causal=causal)
    for first, last in itertools.pairwise(starts):
        one = [array[first:last].swapaxes(0, 1) for array in (q, k, v)]
        assert np.array_equal(out[first:last].swapaxes(0, 1), attend(*one, causal=causal))


def test_what_sees_nothing_is_zero_and_its_log_minus_infinity():
    q, k, v = inputs(lengths_of(30, 10, 4, 4))
    logs = np.empty((2, 30), np.float32)
    out = attend(q, k, v, causal=True, logsumexp=logs)
    assert not out[:, :20].any() and out[:, 20:].all()
    assert np.isneginf(logs[:, :20]).all() and np.isfinite(logs[:, 20:]).all()


@pytest.mark.parametrize("Tq", [1, 7])
@pytest.mark.parametrize("size", [1e4, 1e8, 1e30])
def test_scores_too_large_for_any_exponential(Tq, size):
    q = np.full((Tq, 2), size, np.float32)
    k = np.linspace(-1, 1, 300, dtype=np.float32)[:, None].repeat(2, 1)
    v = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
    assert np.allclose(attend(q, k, v), v[-1], rtol=1e-5)
    assert np.allclose(attend(q, -np.abs(k) * np.float32(0), v), v.mean(axis=0), atol=1e-5)
    # All scores far below 0.
    assert np.isfinite(attend(-q, np.abs(k) + 1, v)).all()


@pytest.mark.parametrize("Tq", [1, 20])
def test_nan_goes_where_it_is_seen_and_nowhere_else(Tq):
    q, k, v = inputs(lengths_of(Tq, 300, 8, 8))
    k[0, 270, 3] = np.nan
    out = attend(q, k, v)
    assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()
    mask = np.ones((Tq, 300), bool)
    mask[:, 270] = False
    assert np.isfinite(attend(q, k, v, mask=mask)).all()
    q[1, 0] = np.nan
    out = attend(q, k, v, mask=mask)
    assert np.isnan(out[1, 0]).all() and np.isfinite(out[1, 1:]).all() and np.isfinite(out[0]).all()


def test_memory_grows_with_the_length_and_not_with_its_square():
    """Beside the output, a thread has its packed keys and values, and a room of fixed size."""

    def peak(T, found):
        arrays = inputs(lengths_of(T, T, 16, 16, (1,)))
        tracemalloc.start()
        attend(*arrays)
        found.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    attend(*inputs(lengths_of(3, 3, 16, 16)))  # compiled, or loaded
    found = []
    for T in (2048, 4096):
        # A thread of its own has no room yet.
        thread = threading.Thread(target=peak, args=(T, found))
        thread.start()
        thread.join()
    assert found[1] < 2.1 * found[0]
    assert found[1] < 4 * 4096 * 16 * (1 + 3 * threads.get_num_threads()) + (1 << 20)
    unfused = registry.get("attention", "unfused").function
    tracemalloc.start()
    unfused(*inputs(lengths_of(2048, 2048, 16, 16, (1,))))
    assert tracemalloc.get_traced_memory()[1] > 4 * 2048 * 2048
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mask": np.ones((4, 4))}, ShapeError, r"mask must broadcast to \(2, 3, 5\)"),
        ({"mask": np.ones((2, 2, 3, 5))}, ShapeError, "mask must broadcast"),
        ({"mask": np.full((3, 5), "a")}, InvalidValue, "booleans or numbers"),
        ({"lengths": [5, 6]}, InvalidValue, "between 0 and 5.*5 to 6"),
        ({"lengths": [5]}, ShapeError, r"\(2,\) integers"),
        ({"lengths": [5.0, 2.0]}, ShapeError, "integers"),
        ({"scale": np.nan}, InvalidValue, "finite"),
        ({"logsumexp": np.empty((2, 4), np.float32)}, ShapeError, r"\(2, 3\)"),
        ({"logsumexp": np.empty((2, 3))}, ShapeError, "float32"),
    ],
)
def test_what_does_not_fit_is_said(arguments, error, words):
    arrays = inputs(lengths_of(3, 5, 4, 6))
    with pytest.raises(error, match=words):
        attend(*arrays, **arguments)


def test_other_shapes_and_types_are_refused():
    q, k, v = inputs(lengths_of(3, 5, 4, 6))
    with pytest.raises(ShapeError, match="one length"):
        attend(q, k[..., :3], v)
    with pytest.raises(ShapeError, match="a value for each key"):
        attend(q, k, v[:, :4])
    with pytest.raises(ShapeError, match="broadcast"):
        attend(q, k, v[:1].repeat(3, 0))
    with pytest.raises(UnsupportedInput, match="float64"):
        attend(q, k, v.astype(np.float64))
    with pytest.raises(UnsupportedInput, match="int64"):
        attend(*(a.astype(np.int64) for a in (q, k, v)))
    with pytest.raises(InvalidValue, match="ascend from 0 to 3"):
        attend_ragged(
            q.swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1), [0, 2], key_starts=[0, 5]
        )
    with pytest.raises(ShapeError, match="one for the end"):
        attend_ragged(q.swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1), [0])


# ------------------------------------------------------------------------------------ the gradient


def forward(q, k, v, dout, **options):
    logs = np.empty(dout.shape[:-1], q.dtype)
    out = attend(q, k, v, logsumexp=logs, **options)
    return q, k, v, out, logs, dout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [(300, 300, 32, 40), (70, 290, 8, 8), (290, 70, 5, 33)])
def test_gradient_of_several_groups_and_blocks(sizes, causal, dtype):
    q, k, v = inputs(lengths_of(*sizes), dtype)
    dout = inputs(((2, sizes[0], sizes[3]),), dtype, seed=3)[0]
    arrays = forward(q, k, v, dout, causal=causal)
    found = attend_gradient(*arrays, causal=causal)
    verify(GRADIENT, arrays, found, {"causal": causal}).require("attend_gradient")


@pytest.mark.parametrize("causal", [False, True])
def test_gradient_is_the_slope(causal):
    """Finite differences in float64, with a mask."""
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(shape) for shape in lengths_of(9, 11, 3, 4)]
    dout = rng.standard_normal((2, 9, 4))
    keep = rng.random((9, 11)) < 0.6
    options = {"causal": causal, "mask": keep, "scale": 0.7}
    found = attend_gradient(*forward(*arrays, dout, **options), **options)
    for i, gradient in enumerate(found):
        direction = rng.standard_normal(gradient.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [a + step * direction if j == i else a for j, a in enumerate(arrays)]
            ends.append((attend(*moved, **options) * dout).sum())
        assert np.isclose((ends[0] - ends[1]) / 2e-6, (gradient * direction).sum(), rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_into_any_layout(layout):
    q, k, v = inputs(lengths_of(20, 30, 8, 12))
    arrays = forward(q, k, v, np.ones((2, 20, 12), np.float32))
    expected = attend_gradient(*arrays)
    out = tuple(laid_out(np.full_like(a, np.nan), layout) for a in (q, k, v))
    attend_gradient(*(laid_out(a, layout) for a in arrays), out)
    assert all(np.array_equal(a, b) for a, b in zip(out, expected, strict=True))


def test_gradient_does_not_depend_on_threads():
    q, k, v = inputs(lengths_of(130, 130, 32, 32, (3,)))
    arrays = forward(q, k, v, np.ones((3, 130, 32), np.float32))
    with threads.use_threads(1):
        alone = attend_gradient(*arrays)
    assert all(np.array_equal(a, b) for a, b in zip(attend_gradient(*arrays), alone, strict=True))


def test_gradient_needs_what_fits():
    q, k, v = inputs(lengths_of(3, 5, 4, 6))
    arrays = forward(q, k, v, np.ones((2, 3, 6), np.float32))
    with pytest.raises(ShapeError, match="broadcast them first"):
        attend_gradient(q, k[:1], v, *arrays[3:])
    with pytest.raises(ShapeError, match="output and its gradient"):
        attend_gradient(q, k, v, arrays[3][:, :2], *arrays[4:])
