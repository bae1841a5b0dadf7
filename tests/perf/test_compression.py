"""Compression: exact counts, gradients, nothing changed before everything was checked."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from layers_for_tests import Linear, ReLU, Sequential, mlp

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.kernels.sparse import csr, sparse_linear
from tinytorch.perf.compression import (
    Compressor,
    KnowledgeDistillation,
    LowRankLinear,
    Masks,
    SparseLinear,
    block_prune,
    compress_model,
    low_rank_approximate,
    magnitude_prune,
    measure_sparsity,
    nm_prune,
    prune_gradually,
    sparsify_where_faster,
    sparsity_at,
    structured_prune,
    verify_pruning_works,
)
from tinytorch.perf.compression import sparse as sparse_module


def zeros(model: Any) -> int:
    return sum(int((p.data == 0).sum()) for p in model.parameters() if p.ndim > 1)


def snapshot(model: Any) -> list[np.ndarray]:
    return [p.data.copy() for p in model.parameters()]


def unchanged(model: Any, before: list[np.ndarray]) -> bool:
    return all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))


# ------------------------------------------------------------------------------------- pruning


@pytest.mark.parametrize("sparsity", [0, 0.123, 0.5, 0.9, 1])
def test_exactly_as_many_go_as_were_asked_for(sparsity: float) -> None:
    model = mlp()
    biases = [layer.bias.data.copy() for layer in model.layers[::2]]
    total = 64 * 96 + 96 * 10
    kept = np.sort(np.concatenate([np.abs(w.data).ravel() for w in model.parameters()[::2]]))
    assert magnitude_prune(model, sparsity) is model
    count = round(sparsity * total)
    assert zeros(model) == count
    assert measure_sparsity(model) == pytest.approx(100 * count / total)
    left = np.concatenate([np.abs(w.data[w.data != 0]).ravel() for w in model.parameters()[::2]])
    assert (np.sort(left) == kept[count:]).all()
    assert all(
        (b == layer.bias.data).all() for b, layer in zip(biases, model.layers[::2], strict=True)
    )


def test_ties_are_cut_at_the_count() -> None:
    model = Linear(10, 10)
    model.weight = Tensor(np.ones((10, 10)))
    magnitude_prune(model, 0.37)
    assert zeros(model) == 37
    model.weight = Tensor(np.where(np.arange(100).reshape(10, 10) < 60, 0.0, 1.0))
    magnitude_prune(model, 0.37)
    assert zeros(model) == 60


def test_memory_stays_the_parameters_own() -> None:
    model = mlp()
    memory = [p.data.__array_interface__["data"] for p in model.parameters()]
    magnitude_prune(model, 0.5)
    structured_prune(model, 0.5)
    assert memory == [p.data.__array_interface__["data"] for p in model.parameters()]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "half", None, True])
def test_shares_that_are_none_are_refused(share: Any) -> None:
    model = mlp()
    before = snapshot(model)
    for prune in (magnitude_prune, structured_prune, block_prune):
        with pytest.raises(InvalidValue, match="between 0 and 1"):
            prune(model, share)
    assert unchanged(model, before)


def test_what_has_no_sizes_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no weights"):
        magnitude_prune(Sequential(ReLU()))
    assert measure_sparsity(Sequential(ReLU())) == 0
    model = mlp()
    model.layers[2].weight.data[0, 0] = np.nan
    before = model.layers[0].weight.data.copy()
    with pytest.raises(InvalidValue, match="NaN"):
        magnitude_prune(model)
    assert (model.layers[0].weight.data == before).all()


def test_whole_outputs_go_with_their_biases() -> None:
    model = mlp()
    norms = np.linalg.norm(model.layers[0].weight.data, axis=0)
    structured_prune(model, 0.25)
    for layer, outputs in ((model.layers[0], 96), (model.layers[2], 10)):
        gone = (layer.weight.data == 0).all(axis=0)
        assert gone.sum() == round(0.25 * outputs)
        assert (layer.bias.data[gone] == 0).all()
        assert (layer.bias.data[~gone] != 0).all()
    gone = (model.layers[0].weight.data == 0).all(axis=0)
    assert norms[gone].max() <= norms[~gone].min()


@pytest.mark.parametrize("block", [(1, 16), (4, 16), (5, 7)])
def test_whole_blocks_go(block: tuple[int, int]) -> None:
    model = Linear(64, 50)
    block_prune(model, 0.6, block)
    h, w = block
    rows, columns = -(-64 // h), -(-50 // w)
    empty = sum(
        bool((model.weight.data[i * h : (i + 1) * h, j * w : (j + 1) * w] == 0).all())
        for i in range(rows)
        for j in range(columns)
    )
    assert empty == round(0.6 * rows * columns)
    with pytest.raises(InvalidValue, match="block"):
        block_prune(model, 0.5, (0, 4))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 4), (3, 5)])
def test_n_of_m_are_left_along_the_inputs(n: int, m: int) -> None:
    model = Linear(66, 7)
    dense = np.abs(model.weight.data.copy())
    nm_prune(model, n, m)
    left = model.weight.data != 0
    for start in range(0, 66, m):
        group = left[start : start + m]
        assert (group.sum(axis=0) == min(n, len(group))).all()
        for column in range(7):
            kept, gone = dense[start : start + m, column], ~group[:, column]
            assert not gone.any() or kept[gone].max() <= kept[~gone].min()
    with pytest.raises(InvalidValue, match="at most"):
        nm_prune(model, 5, 4)
    with pytest.raises(InvalidValue, match="n must"):
        nm_prune(model, 0, 4)


def test_masks_keep_zeros_through_training() -> None:
    model = mlp()
    magnitude_prune(model, 0.5)
    masks = Masks(model)
    for p in model.parameters():
        p.data += 1
    assert zeros(model) == 0
    masks.apply()
    assert measure_sparsity(model) == pytest.approx(50, abs=0.01)


def test_pruning_in_steps_follows_the_cubic() -> None:
    assert [sparsity_at(s, 4, 0.8) for s in (0, 4, 9)] == pytest.approx([0, 0.8, 0.8])
    assert sparsity_at(2, 4, 0.8) == pytest.approx(0.8 * (1 - 0.5**3))
    model, seen = mlp(), []
    reached = prune_gradually(model, 0.8, lambda masks: seen.append(measure_sparsity(model)), 4)
    assert reached == pytest.approx(seen)
    assert reached == pytest.approx([100 * sparsity_at(s, 4, 0.8) for s in (1, 2, 3, 4)], abs=0.01)


def test_pruning_is_verified_by_counting() -> None:
    model = mlp()
    assert verify_pruning_works(model, 0.8)["verified"] is False
    magnitude_prune(model, 0.8)
    found = verify_pruning_works(model, 0.8)
    assert found["verified"] is True
    assert found["zero_weights"] + found["active_weights"] == found["total_weights"] == 7104
    assert found["sparse_mb"] < found["dense_mb"]


# ------------------------------------------------------------------------------------ low rank


def test_the_nearest_matrix_of_a_rank() -> None:
    W = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    U, S, V = low_rank_approximate(W, 0.4)
    assert (U.shape, S.shape, V.shape) == ((30, 8), (8,), (8, 20))
    values = np.linalg.svd(W.astype(np.float64), compute_uv=False)
    assert pytest.approx(values[:8], rel=1e-5) == S
    # Eckart and Young: the error is the root of the squares of what was left out.
    error = np.linalg.norm(W - U @ np.diag(S) @ V)
    assert error == pytest.approx(np.linalg.norm(values[8:]), rel=1e-4)
    parts = low_rank_approximate(Tensor(W), 1.0)
    assert all(isinstance(part, Tensor) for part in parts)
    whole = parts[0].data * parts[1].data @ parts[2].data
    assert whole == pytest.approx(W, abs=1e-5)
    assert low_rank_approximate(W, 1e-9)[1].shape == (1,)


@pytest.mark.parametrize("W", [np.ones(3), np.ones((0, 3)), np.full((2, 2), np.nan)])
def test_what_has_no_rank_is_refused(W: np.ndarray) -> None:
    with pytest.raises(ValueError, match="W must"):
        low_rank_approximate(W)
    with pytest.raises(InvalidValue, match="rank_ratio"):
        low_rank_approximate(np.eye(3), 0)


def test_a_layer_of_two_halves_learns() -> None:
    layer = Linear(20, 30)
    halves = LowRankLinear(layer, 1.0)
    x = Tensor(np.random.default_rng(1).standard_normal((5, 20)))
    assert halves(x).data == pytest.approx(layer.forward(x).data, abs=1e-4)
    halves(x).sum().backward()
    assert halves.first.grad is not None is not halves.second.grad
    assert halves.rank == 20


# -------------------------------------------------------------------------------- distillation


def reference_loss(student: Any, teacher: Any, labels: Any, T: float, alpha: float) -> float:
    def softmax(z: Any) -> Any:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(teacher / T), softmax(student / T)
    soft = (p * np.log(p / q)).sum(axis=1).mean()
    hard = -np.log(softmax(student)[np.arange(len(labels)), labels]).mean()
    return float(alpha * T * T * soft + (1 - alpha) * hard)


def test_distillation_has_the_value_and_the_gradient() -> None:
    rng = np.random.default_rng(2)
    student, teacher = rng.standard_normal((2, 6, 4))
    labels = rng.integers(0, 4, 6)
    both = KnowledgeDistillation(None, None, temperature=2.5, alpha=0.3)
    given = Tensor(student, requires_grad=True, dtype=np.float64)
    loss = both.distillation_loss(given, Tensor(teacher, dtype=np.float64), labels)
    expected = reference_loss(student, teacher, labels, 2.5, 0.3)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    step = 1e-6
    for i, j in ((0, 0), (3, 2), (5, 3)):
        moved = student.copy()
        moved[i, j] += step
        slope = (reference_loss(moved, teacher, labels, 2.5, 0.3) - expected) / step
        assert given.grad is not None
        assert given.grad[i, j] == pytest.approx(slope, abs=1e-5)


def test_a_student_that_agrees_has_only_the_labels_loss() -> None:
    logits = np.random.default_rng(3).standard_normal((5, 3))
    both = KnowledgeDistillation(None, None, alpha=1.0)
    assert both.distillation_loss(logits, logits, np.zeros(5)).item() == pytest.approx(0, abs=1e-6)
    wide = np.array([[1e4, -1e4, 0.0]])
    assert np.isfinite(both.distillation_loss(wide, -wide, [1]).item())


def test_distillation_runs_both_models() -> None:
    teacher, student = mlp(), mlp()
    both = KnowledgeDistillation(teacher, student)
    x = Tensor(np.random.default_rng(4).standard_normal((7, 64)))
    both.loss(x, np.zeros(7)).backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_distillation_refuses_what_does_not_fit() -> None:
    both, logits = KnowledgeDistillation(None, None), np.ones((4, 3))
    with pytest.raises(ShapeError, match="logits"):
        both.distillation_loss(logits, np.ones((4, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match="labels"):
        both.distillation_loss(logits, logits, np.zeros(3))
    for label in (-1, 3, 0.5):
        with pytest.raises(InvalidValue, match="labels"):
            both.distillation_loss(logits, logits, np.full(4, label))
    with pytest.raises(InvalidValue, match="temperature"):
        KnowledgeDistillation(None, None, temperature=0)
    with pytest.raises(InvalidValue, match="alpha"):
        KnowledgeDistillation(None, None, alpha=2)


# ---------------------------------------------------------------------------------- all in one


def test_techniques_are_applied_and_reported() -> None:
    model = mlp()
    found = compress_model(model, {"magnitude_prune": 0.8, "low_rank": 0.25})
    assert found["applied_techniques"] == ["low_rank_0.25", "magnitude_prune_0.8"]
    assert found["final_params"] < found["original_params"]
    assert found["final_sparsity"] == pytest.approx(80, abs=0.1)
    assert found["sparsity_increase"] == pytest.approx(80, abs=0.1)
    assert isinstance(model.layers[0], LowRankLinear)
    plain = mlp()
    Compressor().compress_model(plain, {"structured_prune": 0.5})
    assert Compressor.measure_sparsity(plain) == pytest.approx(50)


@pytest.mark.parametrize(
    "config",
    [
        {"magnitude_prune": 0.5, "structured_prune": 1.5},
        {"magnitude_prune": 0.5, "magnitude_prun": 0.5},
        {"magnitude_prune": 0.5, "low_rank": 0},
        {"magnitude_prune": 0.5, "low_rank": None},
        [("magnitude_prune", 0.5)],
        None,
    ],
    ids=str,
)
def test_compression_refuses_before_it_changes_anything(config: Any) -> None:
    model = mlp()
    before, layers = snapshot(model), list(model.layers)
    with pytest.raises((InvalidValue, UnknownName)):
        compress_model(model, config)
    assert unchanged(model, before)
    assert model.layers == layers


def test_blocks_are_pruned_as_the_sparse_kernels_take_them() -> None:
    model = Sequential(Linear(64, 48), ReLU(), Linear(48, 32, seed=2))
    found = compress_model(model, {"block_prune": 0.75})
    assert found["applied_techniques"] == ["block_prune_0.75"]
    assert found["final_sparsity"] == pytest.approx(75)
    assert [SparseLinear(model.layers[i], (4, 16)).sparse.kept for i in (0, 2)] == [0.25, 0.25]


# -------------------------------------------------------------------------------------- sparse


@pytest.mark.parametrize(("M", "K", "N"), [(1, 7, 5), (300, 64, 33), (257, 130, 9), (0, 4, 3)])
@pytest.mark.parametrize("sparsity", [0.0, 0.7, 0.97, 1.0])
def test_a_sparse_product_equals_the_dense_one(M: int, K: int, N: int, sparsity: float) -> None:
    rng = np.random.default_rng(5)
    W = rng.standard_normal((K, N)).astype(np.float32) * (rng.random((K, N)) >= sparsity)
    x, bias = rng.standard_normal((M, K)).astype(np.float32), rng.standard_normal(N)
    sparse = csr(W)
    assert (sparse.dense() == W).all()
    assert sparse.sparsity == pytest.approx((W == 0).mean())
    result = sparse_linear(x, sparse, bias.astype(np.float32))
    exact = x.astype(np.float64) @ W + bias
    # Of K terms, each sum is within K eps of the sum of magnitudes; 2 sqrt(K) eps as for matmul.
    magnitude = np.abs(x).astype(np.float64) @ np.abs(W) + np.abs(bias)
    bound = 2 * np.sqrt(K + 1) * np.finfo(np.float32).eps * magnitude
    assert result.dtype == np.float32
    assert (np.abs(result - exact) <= bound + 1e-12).all()


def test_a_sparse_layer_stands_in_for_a_dense_one() -> None:
    layer = Linear(64, 48)
    magnitude_prune(layer, 0.9)
    sparse = SparseLinear(layer)
    x = Tensor(np.random.default_rng(6).standard_normal((2, 5, 64)))
    assert sparse(x).data == pytest.approx(layer.forward(x).data, abs=1e-4)
    usage = sparse.memory_usage()
    assert usage["original_bytes"] / usage["quantized_bytes"] == usage["compression_ratio"] > 1
    assert "90.0%" in repr(sparse)
    with pytest.raises(ShapeError, match="64"):
        sparse(np.ones((3, 5)))


def test_what_block_pruning_leaves_is_kept_in_blocks() -> None:
    layer = Linear(64, 48)
    block_prune(layer, 0.75, (16, 4))
    sparse = SparseLinear(layer, (4, 16))
    assert (sparse.format, sparse.sparse.kept, sparse.sparsity) == ("4x16", 0.25, 0.75)
    x = Tensor(np.random.default_rng(6).standard_normal((5, 64)))
    assert sparse(x).data == pytest.approx(layer.forward(x).data, abs=1e-4)
    single = SparseLinear(layer)
    assert single.format == "CSR"
    assert sparse.memory_usage()["quantized_bytes"] < single.memory_usage()["quantized_bytes"]


def test_the_format_that_is_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential(Linear(256, 256), ReLU(), Linear(256, 256, seed=2))
    block_prune(model.layers[0], 0.8, (16, 4))
    magnitude_prune(model.layers[2], 0.2)
    tried: list[set[str]] = []
    real = sparse_module.race

    def first_is_slowest(calls: Any, **options: Any) -> Any:
        tried.append(set(calls))
        taken = real(calls, **options)
        object.__setattr__(taken["4x16"], "seconds", (1e-9,) * 7)
        return taken

    monkeypatch.setattr(sparse_module, "race", first_is_slowest)
    rows = sparsify_where_faster(model, batch=64)
    # What 20 % of single zeros leave of blocks is all of them: only CSR leaves something out.
    assert tried == [{"CSR", "1x16", "4x16"}]
    assert [row["format"] for row in rows] == ["4x16", "CSR"]
    assert [round(row["kept"], 2) for row in rows] == [0.2, 0.8]


def test_layers_become_sparse_only_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential(Linear(64, 64), ReLU(), Linear(64, 64, seed=2))
    magnitude_prune(model.layers[0], 0.99)
    dense = copy.deepcopy(model)
    real, verdicts = sparse_module.compare, iter(["faster", "unresolved"])

    def decided(*calls: Any, **options: Any) -> Any:
        found = real(*calls, **options)
        object.__setattr__(found, "verdict", next(verdicts))
        return found

    monkeypatch.setattr(sparse_module, "compare", decided)
    rows = sparsify_where_faster(model, batch=32)
    assert [row["path"] for row in rows] == ["layers.0", "layers.2"]
    assert [row["replaced"] for row in rows] == [True, False]
    assert [type(layer).__name__ for layer in model.layers] == ["SparseLinear", "ReLU", "Linear"]
    assert rows[0]["speedup_interval"][0] <= rows[0]["speedup"] <= rows[0]["speedup_interval"][1]
    x = Tensor(np.random.default_rng(7).standard_normal((9, 64)))
    assert model.forward(x).data == pytest.approx(dense.forward(x).data, abs=1e-4)
