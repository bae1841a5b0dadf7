"""Embeddings, attention and transformers, against NumPy in float64."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    GPT,
    MLP,
    AdamW,
    CrossEntropyLoss,
    Embedding,
    EmbeddingLayer,
    LayerNorm,
    MultiHeadAttention,
    PositionalEncoding,
    Tensor,
    TinyGPT,
    TransformerBlock,
    create_causal_mask,
    create_sinusoidal_embeddings,
    scaled_dot_product_attention,
    use_backend,
)
from tinytorch.core import graph, transformer
from tinytorch.core.gradcheck import gradcheck
from tinytorch.core.rules.sequences import (
    AttentionBackward,
    EmbeddingBackward,
    LayerNormBackward,
    TiledAttentionBackward,
)
from tinytorch.errors import InvalidValue, ShapeError

RNG = np.random.default_rng(0)


def double(*shape: int) -> Tensor:
    return Tensor(RNG.standard_normal(shape), requires_grad=True, dtype=np.float64)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Embeddings -------------------------------------------------------------------------------------


def test_rows_by_number() -> None:
    table = Embedding(7, 3)
    for numbers in ([[1, 2], [6, 0]], np.array([[1, 2], [6, 0]]), Tensor([[1, 2], [6, 0]])):
        assert table(numbers).tolist() == table.weight.data[[[1, 2], [6, 0]]].tolist()
    assert table(3).shape == (3,) and table(np.zeros((0, 2))).shape == (0, 2, 3)
    assert abs(table.weight.data).max() <= math.sqrt(0.6)


def test_gradients_of_rows_add_up() -> None:
    numbers = np.array([[0, 2, 2], [1, 2, 0]])
    assert gradcheck(
        lambda t: graph.apply(EmbeddingBackward, t, numbers=numbers) ** 2, double(4, 3)
    )


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([7], "0 to 6, got 7 to 7"), ([-1], "-1"), ([0.5], "fractions"), ("a", "numbers")],
)
def test_numbers_outside_are_refused(numbers: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        Embedding(7, 3)(numbers)


def test_sinusoids() -> None:
    table = create_sinusoidal_embeddings(10, 7)
    assert table.shape == (10, 7) and not table.requires_grad
    for p, i in ((0, 0), (3, 2), (9, 6)):
        angle = p / 10000 ** (i / 7)
        assert table.data[p, i] == pytest.approx(math.sin(angle), abs=1e-6)
        if i + 1 < 7:
            assert table.data[p, i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions() -> None:
    x, positions = RNG.standard_normal((2, 3, 4)), PositionalEncoding(5, 4)
    expected = x + positions.position_embeddings.data[:3]
    np.testing.assert_allclose(positions(x).data, expected, rtol=1e-6)
    for shape, words in (
        ((2, 6, 4), "6 is longer than max_seq_len=5"),
        ((2, 3, 5), r"\(B, T, 4\)"),
    ):
        with pytest.raises(ShapeError, match=words):
            positions(np.ones(shape))


def test_tokens_and_positions() -> None:
    for kind, parameters in (("learned", 2), ("sinusoidal", 1), (None, 1)):
        layer = EmbeddingLayer(9, 4, max_seq_len=5, pos_encoding=kind, scale_embeddings=True)
        assert layer([[1, 2, 3]]).shape == (1, 3, 4) and layer([1, 2]).shape == (2, 4)
        assert len(layer.parameters()) == parameters
    np.testing.assert_allclose(layer([1]).data, layer.token_embedding.weight.data[[1]] * 2)
    with pytest.raises(InvalidValue, match="rotary"):
        EmbeddingLayer(9, 4, pos_encoding="rotary")


# Attention --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (2, 5, 4, 3)])
def test_attention_is_its_formula(shape: tuple[int, ...]) -> None:
    q, k, v = (RNG.standard_normal(shape) for _ in range(3))
    output, weights = scaled_dot_product_attention(Tensor(q), Tensor(k), Tensor(v))
    expected = softmax(q @ k.swapaxes(-1, -2) / math.sqrt(3))
    np.testing.assert_allclose(weights.data, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output.data, expected @ v, rtol=1e-4, atol=1e-6)


def test_a_mask_hides() -> None:
    q = Tensor(RNG.standard_normal((2, 4, 3)))
    _, weights = scaled_dot_product_attention(q, q, q, create_causal_mask(4))
    assert (weights.data[:, np.triu_indices(4, 1)[0], np.triu_indices(4, 1)[1]] == 0).all()
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-6)
    mask = create_causal_mask(3)
    assert np.array_equal(mask.data.reshape(3, 3), np.tril(np.ones((3, 3))))
    with pytest.raises(ShapeError, match=r"\(3, 3\).*\(2, 4, 4\)"):
        scaled_dot_product_attention(q, q, q, np.ones((3, 3)))


def test_gradients_of_attention() -> None:
    mask = create_causal_mask(4)
    assert gradcheck(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, mask)[0],
        *(double(2, 4, 3) for _ in range(3)),
    )


@pytest.mark.parametrize(
    "shapes", [((4,), (4, 3), (4, 3)), ((4, 3), (4, 2), (4, 3)), ((4, 3), (5, 3), (4, 3))]
)
def test_attention_refuses(shapes: Any) -> None:
    with pytest.raises(ShapeError):
        scaled_dot_product_attention(*(np.ones(s) for s in shapes))


def heads(layer: MultiHeadAttention, x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Attention in several heads, one at a time."""

    def project(linear: Any, z: np.ndarray) -> np.ndarray:
        return z @ linear.weight.data.astype(float) + linear.bias.data

    q, k, v = (project(p, x) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    parts = []
    for h in range(layer.num_heads):
        own = slice(h * layer.head_dim, (h + 1) * layer.head_dim)
        scores = q[..., own] @ k[..., own].swapaxes(-1, -2) / math.sqrt(layer.head_dim)
        parts.append(softmax(np.where(keep, scores, -1e9)) @ v[..., own])
    return project(layer.out_proj, np.concatenate(parts, -1))


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("masked", ["none", "causal", "plain", "batch"])
def test_heads_side_by_side(backend: str, masked: str) -> None:
    layer, x = MultiHeadAttention(8, 2), RNG.standard_normal((3, 5, 8))
    for p in layer.parameters():
        p.data = p.data + 0.1
    keep = np.ones((3, 5, 5), bool)
    if masked in ("causal", "plain"):
        keep = np.tril(keep)
    elif masked == "batch":
        keep = np.tril(keep)
        keep[1, :, 1:] = False
    mask = {"none": None, "causal": create_causal_mask(5), "plain": keep[0], "batch": keep}[masked]
    with use_backend(backend):
        result = layer(x, mask)
    np.testing.assert_allclose(result.data, heads(layer, x, keep), rtol=1e-4, atol=1e-5)
    if masked == "batch":
        four = layer(x, np.repeat(keep[:, None], 2, axis=1))
        np.testing.assert_allclose(four.data, result.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_heads(masked: bool) -> None:
    layer = MultiHeadAttention(4, 2)
    for linear in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
        linear.weight, linear.bias = double(4, 4), double(4)
    mask = create_causal_mask(3) if masked else None
    assert gradcheck(lambda x, *_: layer(x, mask), double(2, 3, 4), *layer.parameters())


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_many_scores_are_tiled(backend: str) -> None:
    """Tiles take the place of the scores, without a mask and under one that hides nothing."""
    layer = MultiHeadAttention(16, 2)
    shape = (2, 2, 100, 8)
    drawn = [RNG.standard_normal(shape).astype(np.float32) for _ in range(4)]
    q, k, v = (Tensor(a, requires_grad=True) for a in drawn[:3])
    with use_backend(backend):
        tiled = layer.attend(q, k, v)
        assert type(tiled._grad_fn).__name__ == "TiledAttentionBackward"
        (tiled * drawn[3]).sum().backward()
        found = [t.grad for t in (q, k, v)]
        q.grad = k.grad = v.grad = None
        whole = graph.apply(AttentionBackward, q, k, v, keep=None)
        (whole * drawn[3]).sum().backward()
        np.testing.assert_allclose(tiled.data, whole.data, rtol=1e-4, atol=1e-5)
        for a, b in zip(found, (q.grad, k.grad, v.grad), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        masked = layer.attend(q, k, v, np.ones((100, 100)))
        assert type(masked._grad_fn).__name__ == "TiledAttentionBackward"
        np.testing.assert_allclose(masked.data, tiled.data, rtol=1e-4, atol=1e-5)


MASKS = {"one": (70, 290), "batch": (2, 1, 70, 290), "padding": (2, 1, 1, 290), "row": (290,)}


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("form", MASKS)
def test_masked_tiles_learn_as_all_scores_do(form: str, blind: bool) -> None:
    """A mask of any form that broadcasts; a query that sees nothing takes an even mean."""
    mask = (RNG.random(MASKS[form]) < 0.3).astype(np.float32)
    mask[..., 0] = 1
    if blind:
        mask[(0,) * (mask.ndim - 1)] = 0
    q, k, v = (double(2, 3, n, 8) for n in (70, 290, 290))
    slope = RNG.standard_normal(q.shape)
    layer, found = MultiHeadAttention(24, 3), []
    for dtype in (np.float64, np.float32):
        given = [Tensor(t.data, requires_grad=True, dtype=dtype) for t in (q, k, v)]
        result = layer.attend(*given, mask)
        assert type(result._grad_fn).__name__ == "TiledAttentionBackward"
        result.backward(slope)
        found.append([result.data, *(t.grad for t in given)])
    whole = graph.apply(AttentionBackward, q, k, v, keep=mask != 0)
    whole.backward(slope)
    for exact, near, reference in zip(*found, (whole.data, q.grad, k.grad, v.grad), strict=True):
        np.testing.assert_allclose(exact, reference, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(near, reference, rtol=1e-3, atol=2e-5)


def test_masked_tiles_by_finite_differences() -> None:
    keep = RNG.random((2, 1, 5, 4)) < 0.5
    keep[1, 0, 2] = False
    assert not keep.any(axis=-1).all()
    assert gradcheck(
        lambda q, k, v: graph.apply(TiledAttentionBackward, q, k, v, causal=False, keep=keep),
        *(double(2, 2, n, 3) for n in (5, 4, 4)),
    )


def test_memory_under_a_mask_grows_with_the_length() -> None:
    """Training keeps no scores: what it allocates for 4 times the length is 4 times as much."""
    layer = MultiHeadAttention(32, 4)
    peaks = []
    for length in (512, 2048):
        q, k, v = (
            Tensor(RNG.standard_normal((1, 4, length, 8)), requires_grad=True) for _ in "qkv"
        )
        padding = np.arange(length) < length - 7
        for _ in range(2):  # the first one compiles, and makes the threads' room
            tracemalloc.start()
            layer.attend(q, k, v, padding).sum().backward()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[3] < 5 * peaks[1], peaks
    assert peaks[3] < 4 * 2048 * 2048, "less than the scores of one head"


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_joined_projections_are_the_three(backend: str) -> None:
    """One product in training gives what three give, also where some weights are frozen."""
    layer, mask = MultiHeadAttention(16, 2), create_causal_mask(5)
    for p in layer.parameters():
        p.data = 0.3 * RNG.standard_normal(p.shape)
    layer.k_proj.weight.requires_grad = False
    x = Tensor(RNG.standard_normal((3, 5, 16)), requires_grad=True)

    def gradients(given: Any) -> tuple[list[Any], np.ndarray]:
        x.grad = None
        layer.zero_grad()
        with use_backend(backend):
            y = layer(x, given)
            (y * y).sum().backward()
        found = [p.grad for p in (x, *layer.parameters())]
        return found, y.data

    joined, y = gradients(mask)
    apart, same = gradients(np.array(mask.data))
    np.testing.assert_allclose(y, same, rtol=1e-4, atol=1e-4)
    assert layer.k_proj.weight.grad is None
    for a, b in zip(joined, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_projection_replaced_is_called() -> None:
    """Where a projection is no plain Linear, or is watched, each is called by itself."""
    layer, mask, seen = MultiHeadAttention(8, 2), create_causal_mask(3), []
    plain = layer.v_proj.forward
    layer.v_proj.forward = lambda x: seen.append(x) or plain(x)  # type: ignore[method-assign]
    layer(np.ones((1, 3, 8)), mask)
    assert len(seen) == 1
    del layer.v_proj.forward
    layer(np.ones((1, 3, 8)), mask)
    assert len(seen) == 1


def test_heads_refuse() -> None:
    with pytest.raises(InvalidValue, match=r"divisible.*8 and 3"):
        MultiHeadAttention(8, 3)
    with pytest.raises(ShapeError, match=r"\(B, T, 8\), got shape \(3, 7\)"):
        MultiHeadAttention(8, 2)(np.ones((3, 7)))
    with pytest.raises(ShapeError, match="does not fit"):
        MultiHeadAttention(8, 2)(np.ones((2, 4, 8)), np.ones((3, 3)))


# Transformers -----------------------------------------------------------------------------------


def test_layer_norm() -> None:
    x, norm = RNG.standard_normal((2, 3, 4)) * 5 + 2, LayerNorm(4)
    norm.gamma.data, norm.beta.data = np.arange(4) + 1.0, np.arange(4) - 1.0
    away = x - x.mean(-1, keepdims=True)
    expected = away / np.sqrt((away**2).mean(-1, keepdims=True) + 1e-5) * norm.gamma.data
    np.testing.assert_allclose(norm(x).data, expected + norm.beta.data, rtol=1e-4, atol=1e-5)
    two = LayerNorm((3, 4))
    assert two(x).shape == x.shape and two(x).data.mean() == pytest.approx(0, abs=1e-6)
    assert np.isfinite(norm(np.full((2, 4), 1e4)).data).all()
    with pytest.raises(ShapeError, match=r"\(4,\).*\(2, 5\)"):
        norm(np.ones((2, 5)))


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_gradients_of_layer_norm(backend: str) -> None:
    with use_backend(backend):
        assert gradcheck(
            lambda x, g, b: graph.apply(LayerNormBackward, x, g, b, eps=1e-5),
            double(2, 3, 4),
            double(4),
            double(4),
        )


def test_gradients_of_a_block() -> None:
    block = TransformerBlock(4, 2, mlp_ratio=2)
    for name, p in block.named_parameters():
        owner: Any = block
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, Tensor(p.data + 0.1, requires_grad=True, dtype=np.float64))
    mask = create_causal_mask(3)
    assert gradcheck(lambda x, *_: block(x, mask), double(1, 3, 4), *block.parameters(), atol=1e-5)


def test_parts_have_their_sizes() -> None:
    assert MLP(4).linear1.out_features == 16 and MLP(4, 5).linear1.out_features == 5
    model = GPT(11, 8, 2, 2, max_seq_len=6)
    assert model([[1, 2, 3]]).shape == (1, 3, 11) and model([1, 2]).shape == (1, 2, 11)
    counted = sum(p.size for p in model.parameters())
    block = 4 * (64 + 8) + 2 * 16 + (8 * 32 + 32) + (32 * 8 + 8)
    assert counted == 11 * 8 + 6 * 8 + 2 * block + 16 + 8 * 11
    assert TinyGPT is GPT and transformer.GPT is GPT


def test_nothing_looks_ahead() -> None:
    model = GPT(11, 8, 2, 2, max_seq_len=6)
    one, other = model([[1, 2, 3, 4]]).data, model([[1, 2, 9, 10]]).data
    np.testing.assert_allclose(one[:, :2], other[:, :2], rtol=1e-5, atol=1e-6)
    assert not np.allclose(one[:, 2:], other[:, 2:])


def test_a_sequence_is_learnt_by_heart_and_said_again() -> None:
    tinytorch.manual_seed(0)
    model = GPT(8, 16, 1, 2, max_seq_len=8)
    optimizer, loss_fn = AdamW(model.parameters(), lr=0.01), CrossEntropyLoss()
    sequence = np.array([[1, 5, 2, 7, 3, 0, 6, 4]])
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_fn(model(sequence[:, :-1]), sequence[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    assert model.generate([1], 7, temperature=0).tolist() == sequence.tolist()


def test_what_is_drawn_follows_the_seed() -> None:
    model = GPT(11, 8, 1, 2, max_seq_len=4)
    tinytorch.manual_seed(3)
    first = model.generate([[1, 2], [3, 4]], max_new_tokens=6)
    assert first.shape == (2, 8) and first.dtype == np.int64
    assert first.data[:, :2].tolist() == [[1, 2], [3, 4]]
    tinytorch.manual_seed(3)
    assert model.generate(Tensor([[1, 2], [3, 4]]), 6).tolist() == first.tolist()
    assert model.generate([1], 0).tolist() == [[1]] and model.training


def test_drawing_follows_the_shares() -> None:
    from tinytorch.core.generation import Sampling

    tinytorch.manual_seed(0)
    logits = np.log(np.tile([0.1, 0.2, 0.7], (20_000, 1)))
    counts = np.bincount(Sampling(1.0)(logits), minlength=3) / 20_000
    np.testing.assert_allclose(counts, [0.1, 0.2, 0.7], atol=0.015)
    assert (Sampling(1e-3)(logits * 1e5) == 2).all()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (np.zeros((1, 5)), "1 to max_seq_len=4 tokens, got 5"),
        (np.zeros((1, 0)), "got 0"),
        (np.zeros((1, 1, 1)), r"\(B, T\)"),
        ([[11]], "0 to 10, got 11"),
    ],
)
def test_tokens_are_refused(tokens: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GPT(11, 8, 1, 2, max_seq_len=4)(tokens)
    with pytest.raises(InvalidValue, match="temperature"):
        GPT(11, 8, 1, 2).generate([1], temperature=-1)
