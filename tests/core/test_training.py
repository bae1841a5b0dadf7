from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    SGD,
    Adam,
    AdamW,
    BatchNorm2d,
    CosineSchedule,
    CrossEntropyLoss,
    DataLoader,
    Dropout,
    Linear,
    MSELoss,
    ReLU,
    Sequential,
    Tensor,
    TensorDataset,
    Trainer,
    clip_grad_norm,
)
from tinytorch.core import safetensors
from tinytorch.errors import DamagedFile, InvalidValue, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def trainer(optimizer: Any = Adam, seed: int = 0) -> Trainer:
    tinytorch.manual_seed(seed)
    model = Sequential(Linear(4, 16), ReLU(), Dropout(0.1), Linear(16, 3))
    return Trainer(
        model,
        optimizer(model.parameters(), lr=0.02),
        CrossEntropyLoss(),
        scheduler=CosineSchedule(0.02, 0.001, 10),
        grad_clip_norm=1.0,
    )


def loader() -> DataLoader:
    return DataLoader(TensorDataset(X, Tensor(Y, dtype=np.int64)), 8, shuffle=True)


def weights(t: Trainer) -> list[Any]:
    return [p.tolist() for p in t.model.parameters()]


def test_training_learns_and_keeps_its_history() -> None:
    t = trainer()
    losses = [t.train_epoch(loader()) for _ in range(10)]
    assert losses[-1] < losses[0] / 2
    loss, accuracy = t.evaluate(loader())
    assert accuracy > 0.9 and loss < losses[0]
    assert t.epoch == 10 and t.step == 50
    assert t.history["train_loss"] == losses and t.history["eval_loss"] == [loss]
    assert t.history["learning_rates"][0] == 0.02 and t.model.training


def test_accumulated_batches_are_one_large_one() -> None:
    data = TensorDataset(X, Tensor(Y, dtype=np.int64))

    def trained(size: int, steps: int) -> list[Any]:
        tinytorch.manual_seed(0)
        model = Linear(4, 3)
        t = Trainer(model, SGD(model.parameters(), lr=0.1), CrossEntropyLoss())
        t.train_epoch(DataLoader(data, size), accumulation_steps=steps)
        return [p.data for p in model.parameters()]

    for whole, parts in zip(trained(20, 1), trained(5, 4), strict=True):
        np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-7)
    with pytest.raises(InvalidValue, match="accumulation_steps"):
        trained(5, 0)


def test_evaluation_counts_what_is_right() -> None:
    class Echo:
        def parameters(self) -> list[Tensor]:
            return []

        def forward(self, x: Tensor) -> Tensor:
            return x

    t = Trainer(Echo(), SGD([Tensor([1.0])]), MSELoss())
    one_hot = TensorDataset(np.eye(4)[[0, 1, 2, 2]], np.eye(4)[[0, 1, 2, 3]])
    assert t.evaluate(DataLoader(one_hot, 3))[1] == 0.75
    single = TensorDataset(np.array([[0.9], [0.2], [0.6]]), np.array([[1.0], [0.0], [0.0]]))
    assert t.evaluate(DataLoader(single, 2))[1] == pytest.approx(2 / 3)
    for run in (t.evaluate, t.train_epoch):
        with pytest.raises(InvalidValue, match="without samples"):
            run([])


def test_cosine_schedule() -> None:
    schedule = CosineSchedule(max_lr=0.1, min_lr=0.01, total_epochs=100)
    assert schedule.get_lr(0) == pytest.approx(0.1)
    assert schedule.get_lr(50) == pytest.approx(0.055)
    assert schedule.get_lr(100) == schedule.get_lr(1000) == pytest.approx(0.01)
    for bad in ((0.01, 0.1, 10), (0.1, -0.1, 10), (0.1, 0.01, 0)):
        with pytest.raises(InvalidValue):
            CosineSchedule(*bad)


def test_clipping() -> None:
    a, b, c = (Tensor(np.zeros(n), requires_grad=True) for n in (2, 1, 3))
    a.grad, b.grad = np.float32([3.0, 0.0]), np.float32([4.0])
    assert clip_grad_norm([a, b, c], 10.0) == pytest.approx(5) and a.grad.tolist() == [3, 0]
    assert clip_grad_norm([a, b, c], 1.0) == pytest.approx(5)
    np.testing.assert_allclose([*a.grad, *b.grad], [0.6, 0, 0.8], rtol=1e-5)
    a.grad[:] = 1e30
    assert clip_grad_norm([a], 1.0) == pytest.approx(math.sqrt(2) * 1e30, rel=1e-6)
    assert np.isfinite(a.grad).all()
    assert clip_grad_norm([c]) == 0.0
    with pytest.raises(InvalidValue):
        clip_grad_norm([a], 0.0)


# Checkpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [Adam, AdamW, lambda p, lr: SGD(p, lr, momentum=0.9)])
def test_a_resumed_run_ends_in_the_same_weights(optimizer: Any, tmp_path: Path) -> None:
    whole = trainer(optimizer)
    for _ in range(6):
        whole.train_epoch(loader())
    first = trainer(optimizer)
    for _ in range(3):
        first.train_epoch(loader())
    first.save_checkpoint(tmp_path / "c.safetensors")
    second = trainer(optimizer, seed=99)
    second.load_checkpoint(tmp_path / "c.safetensors")
    assert second.epoch == 3 and second.history == first.history
    for _ in range(3):
        second.train_epoch(loader())
    assert weights(second) == weights(whole)
    assert second.history == whole.history


@pytest.mark.parametrize("cut", [0, 4, 50, 1000, -1])
def test_a_damaged_checkpoint_leaves_all_as_it_was(cut: int, tmp_path: Path) -> None:
    t = trainer()
    t.train_epoch(loader())
    path = tmp_path / "c.safetensors"
    t.save_checkpoint(path)
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    before, state = weights(t), t.optimizer.state_dict()
    with pytest.raises(DamagedFile, match="damaged"):
        t.load_checkpoint(path)
    assert weights(t) == before and t.epoch == 1
    assert t.optimizer.state_dict()["step_count"] == state["step_count"]


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = safetensors.save(
        tmp_path / "a", {"x": np.arange(3.0), "y": np.zeros((0, 2))}, {"k": "v"}
    )
    content = path.read_bytes()
    arrays, told = safetensors.load(path)
    assert arrays["x"].tolist() == [0, 1, 2] and arrays["y"].shape == (0, 2) and told == {"k": "v"}
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 4
        path.write_bytes(changed)
        try:
            found = safetensors.load(path)
        except DamagedFile:
            continue
        # The checksum's own name is not under it, and a space carries nothing.
        assert found[0]["x"].tolist() == [0, 1, 2] and found[1]["k"] == "v", place


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    t = trainer()
    path = tmp_path / "c.safetensors"
    t.save_checkpoint(path)
    model = Sequential(Linear(4, 17), ReLU(), Dropout(0.1), Linear(17, 3))
    other = Trainer(model, Adam(model.parameters()), CrossEntropyLoss())
    before = weights(other)
    with pytest.raises(ShapeError, match=r"layers\.\d\.\w+ has shape"):
        other.load_checkpoint(path)
    assert weights(other) == before
    with pytest.raises(InvalidValue, match=r"Adam.*SGD"):
        trainer(SGD).load_checkpoint(path)
    with pytest.raises(DamagedFile, match="no checkpoint"):
        t.load_checkpoint(safetensors.save(tmp_path / "x", {"x": np.ones(1)}))
    with pytest.raises(FileNotFoundError):
        t.load_checkpoint(tmp_path / "nothing")


def test_running_moments_are_saved_too(tmp_path: Path) -> None:
    norm = BatchNorm2d(2)
    norm(RNG.standard_normal((3, 2, 4, 4)) + 5)
    norm.save(tmp_path / "n")
    other = BatchNorm2d(2)
    other.load(tmp_path / "n")
    assert other.running_mean.tolist() == norm.running_mean.tolist() != [0, 0]


KILLED = """
import sys, numpy as np, tinytorch
from tinytorch import *
model = Linear(400, 400)
t = Trainer(model, Adam(model.parameters()), MSELoss())
print("ready", flush=True)
i = 0
while True:
    model.bias.data[:] = i
    t.epoch = i
    t.save_checkpoint(sys.argv[1])
    i += 1
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for wait in (0.05, 0.11, 0.23):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists():
            assert process.poll() is None
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        model = Linear(400, 400)
        t = Trainer(model, Adam(model.parameters()), MSELoss())
        t.load_checkpoint(path)
        assert (model.bias.data == t.epoch).all()


def test_unknown_dtypes_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="complex"):
        safetensors.save(tmp_path / "x", {"x": np.ones(1, complex)})


def test_fit_reports_evaluates_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    said: list[str] = []
    whole = trainer()
    history = whole.fit(loader(), 4, loader(), report=said.append)
    assert len(said) == 4 and said[-1].startswith("epoch 4/4  loss ") and "% right" in said[-1]
    assert [len(values) for values in history.values()] == [4, 4, 4, 4]

    path = tmp_path / "run.safetensors"
    trainer().fit(loader(), 2, loader(), checkpoint=path, report=None)
    again = trainer(seed=9)
    said.clear()
    again.fit(loader(), 4, loader(), checkpoint=path, report=said.append)
    assert said[0].startswith("going on after epoch 2") and len(said) == 3
    assert weights(again) == weights(whole) and again.history == whole.history
    again.fit(loader(), 4, checkpoint=path, report=said.append)  # all is done already
    assert len(said) == 4


def test_a_history_is_drawn(tmp_path: Path) -> None:
    t = trainer()
    with pytest.raises(InvalidValue, match="no history"):
        t.plot_history(tmp_path / "early.png")
    t.fit(loader(), 2, loader(), report=None)
    assert t.plot_history(tmp_path / "history.png").read_bytes()[:4] == b"\x89PNG"
