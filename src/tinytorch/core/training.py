"""Training: epochs, evaluation, a schedule, and checkpoints that an exact resume starts from."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.core import randomness, safetensors
from tinytorch.core.graph import no_grad
from tinytorch.core.layers import positive_int
from tinytorch.core.module import Layer
from tinytorch.core.tensor import Tensor
from tinytorch.errors import DamagedFile, InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = ["CosineSchedule", "Trainer", "clip_grad_norm"]


class CosineSchedule:
    """lr = min + (max - min) (1 + cos(pi epoch / total)) / 2, and min from the end on.

    Loshchilov and Hutter, 2017, without restarts.
    """

    def __init__(self, max_lr: float = 0.1, min_lr: float = 0.01, total_epochs: int = 100) -> None:
        """Keep the settings. Raises InvalidValue unless 0 <= min_lr <= max_lr."""
        if not 0 <= min_lr <= max_lr < math.inf:
            raise InvalidValue(f"0 <= min_lr <= max_lr must hold, got {min_lr!r} and {max_lr!r}")
        self.max_lr, self.min_lr = max_lr, min_lr
        self.total_epochs = positive_int(total_epochs, "total_epochs")

    def get_lr(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        done = min(max(epoch / self.total_epochs, 0.0), 1.0)
        return self.min_lr + (self.max_lr - self.min_lr) * (1 + math.cos(math.pi * done)) / 2


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float = 1.0) -> float:
    """Scale all gradients to a common L2 norm of at most `max_norm`; return the norm before.

    Parameters without a gradient are passed over. Pascanu et al., 2013.
    """
    if not max_norm > 0:
        raise InvalidValue(f"max_norm must be above 0, got {max_norm!r}")
    gradients: list[Array] = []
    for p in [parameters] if isinstance(parameters, Tensor) else parameters:
        if p.grad is not None:
            p.grad = np.asarray(getattr(p.grad, "_data", p.grad))
            gradients.append(p.grad)
    norm = math.sqrt(sum(_squares(g) for g in gradients))
    if norm > max_norm:
        for grad in gradients:
            grad *= grad.dtype.type(max_norm / (norm + 1e-6))
    return norm


def _squares(grad: Array) -> float:
    total = float(np.vdot(grad, grad))
    if math.isfinite(total) and total > 1e-30:
        return total
    wide = grad.astype(np.float64)  # squares beyond float32 are not beyond float64
    return float(np.vdot(wide, wide))


_KEPT = ("train_loss", "eval_loss", "eval_accuracy", "learning_rates")


class Trainer:
    """A model, its optimizer and its loss: run epochs, evaluate, save and go on.

    `history` has a list of `train_loss`, `eval_loss`, `eval_accuracy` and `learning_rates`. A
    checkpoint holds the model, the optimizer's moments, the epoch, the history and the state of the
    random numbers, so a run that was killed and resumed ends in the same weights.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss_fn: Any,
        scheduler: Any = None,
        grad_clip_norm: float | None = None,
    ) -> None:
        """Keep the parts. Raises InvalidValue for a norm that is not above 0."""
        if grad_clip_norm is not None and not grad_clip_norm > 0:
            raise InvalidValue(f"grad_clip_norm must be above 0, got {grad_clip_norm!r}")
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.scheduler, self.grad_clip_norm = scheduler, grad_clip_norm
        self.epoch = 0
        self.step = 0
        self.history: dict[str, list[float]] = {name: [] for name in _KEPT}

    def _mode(self, training: bool) -> None:
        if isinstance(self.model, Layer):
            self.model.train(training)
        elif hasattr(self.model, "training"):
            self.model.training = training

    def _output(self, inputs: Any) -> Any:
        return self.model(inputs) if callable(self.model) else self.model.forward(inputs)

    def train_epoch(self, loader: Iterable[Any], accumulation_steps: int = 1) -> float:
        """Train on every batch once, and return the mean loss, each sample counting the same.

        Gradients of `accumulation_steps` batches are averaged into one step of the optimizer.
        Raises InvalidValue for a loader without batches.
        """
        positive_int(accumulation_steps, "accumulation_steps")
        self._mode(True)
        if self.scheduler is not None:
            self.optimizer.lr = self.scheduler.get_lr(self.epoch)
        losses = _Mean()
        self.optimizer.zero_grad()
        waiting = 0
        for inputs, targets in loader:
            loss = self.loss_fn(self._output(inputs), targets)
            losses.add(loss.item(), len(inputs))
            scaled = loss if accumulation_steps == 1 else loss * (1 / accumulation_steps)
            scaled.backward()
            waiting += 1
            if waiting == accumulation_steps:
                self._update()
                waiting = 0
        if waiting:
            self._update()
        mean = losses.value("train_epoch")
        self.history["train_loss"].append(mean)
        self.history["learning_rates"].append(float(self.optimizer.lr))
        self.epoch += 1
        return mean

    def _update(self) -> None:
        if self.grad_clip_norm is not None:
            clip_grad_norm(self.model.parameters(), self.grad_clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def evaluate(self, loader: Iterable[Any]) -> tuple[float, float]:
        """Return the mean loss, and the share of samples that are right, without training.

        Right is the class with the largest output, or, for a single output, the right side of 0.5.
        """
        self._mode(False)
        losses, right = _Mean(), _Mean()
        with no_grad():
            for inputs, targets in loader:
                outputs = self._output(inputs)
                losses.add(self.loss_fn(outputs, targets).item(), len(inputs))
                hits = _hits(outputs.numpy(), np.asarray(getattr(targets, "_data", targets)))
                right.add(float(hits.mean()), hits.size)
        self._mode(True)
        mean, accuracy = losses.value("evaluate"), right.value("evaluate")
        self.history["eval_loss"].append(mean)
        self.history["eval_accuracy"].append(accuracy)
        return mean, accuracy

    def fit(
        self,
        loader: Iterable[Any],
        epochs: int,
        eval_loader: Iterable[Any] | None = None,
        *,
        checkpoint: Any = None,
        report: Callable[[str], object] | None = print,
    ) -> dict[str, list[float]]:
        """Train until `epochs` epochs are done in all, and return `history`.

        After each epoch the model is evaluated on `eval_loader`, where there is one, `checkpoint`
        (a path) is written, and `report` is given a line (None for silence). Where that file is
        there already, training goes on from it: a program that was killed ends as it would have, by
        being started again. Raises what `train_epoch` and `load_checkpoint` raise.
        """
        positive_int(epochs, "epochs")
        if checkpoint is not None and Path(checkpoint).exists():
            self.load_checkpoint(checkpoint)
            if report is not None:
                report(f"going on after epoch {self.epoch} of {checkpoint}")
        while self.epoch < epochs:
            start = time.perf_counter()
            said = f"epoch {self.epoch + 1}/{epochs}  loss {self.train_epoch(loader):.4f}"
            if eval_loader is not None:
                loss, accuracy = self.evaluate(eval_loader)
                said += f"  evaluated {loss:.4f}, {100 * accuracy:.1f} % right"
            if checkpoint is not None:
                self.save_checkpoint(checkpoint)
            if report is not None:
                report(f"{said}  ({time.perf_counter() - start:.1f} s)")
        return self.history

    def plot_history(self, path: Any) -> Path:
        """Draw the losses against the epochs into a PNG file, and return its path.

        Raises InvalidValue before the first epoch.
        """
        from tinytorch.measure import charts, report  # which bring Altair, slow to import

        rows = [
            (name.replace("_", " "), float(epoch), loss)
            for name in ("train_loss", "eval_loss")
            for epoch, loss in enumerate(self.history[name], 1)
        ]
        if not rows:
            raise InvalidValue("there is no history to draw yet: call fit or train_epoch first")
        drawn = charts.lines(rows, "epoch", "loss", log_x=False, log_y=False)
        return report.write_png(drawn, Path(path))

    # Checkpoints ----------------------------------------------------------------------------------
    def _model_state(self) -> dict[str, Array]:
        if hasattr(self.model, "state_dict"):
            return dict(self.model.state_dict())
        return {str(i): np.array(p.data) for i, p in enumerate(self.model.parameters())}

    def _load_model(self, state: dict[str, Array]) -> None:
        if hasattr(self.model, "load_state_dict"):
            self.model.load_state_dict(state)
            return
        parameters = list(self.model.parameters())
        if len(parameters) != len(state):
            raise InvalidValue(f"{len(state)} arrays for {len(parameters)} parameters")
        for i, p in enumerate(parameters):
            if state[str(i)].shape != p.shape:
                raise ShapeError(f"parameter {i} has shape {p.shape}, got {state[str(i)].shape}")
        for i, p in enumerate(parameters):
            p.data = state[str(i)]

    def save_checkpoint(self, path: Any) -> None:
        """Write everything that training goes on from; a crash leaves the previous file whole."""
        optimizer = self.optimizer.state_dict()
        key, beside = randomness.state()
        arrays = {f"model.{k}": v for k, v in self._model_state().items()}
        arrays |= {f"optimizer.{k}": v for k, v in optimizer["moments"].items()}
        arrays["random"] = key
        told = {
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "lr": optimizer["lr"],
            "step_count": optimizer["step_count"],
            "random": beside,
            "optimizer": type(self.optimizer).__name__,
        }
        safetensors.save(path, arrays, {"tinytorch": json.dumps(told)})

    def load_checkpoint(self, path: Any) -> None:
        """Go on from a checkpoint. A damaged file, or another model's, leaves all as it was.

        Raises DamagedFile for a file that is not whole, InvalidValue or ShapeError for one of
        another model or optimizer, OSError where it can't be read.
        """
        arrays, metadata = safetensors.load(path)
        if "tinytorch" not in metadata or "random" not in arrays:
            raise DamagedFile(f"{path} is no checkpoint of a Trainer: use the model's load()")
        try:
            told = json.loads(metadata["tinytorch"])
        except ValueError as error:
            raise DamagedFile(f"{path} is damaged ({error}): take another checkpoint") from error
        if told["optimizer"] != type(self.optimizer).__name__:
            raise InvalidValue(
                f"{path} goes on with {told['optimizer']}, and this Trainer has "
                f"{type(self.optimizer).__name__}"
            )
        before = self._model_state()
        self._load_model(_below("model.", arrays))
        moments = _below("optimizer.", arrays)
        try:
            self.optimizer.load_state_dict({**told, "moments": moments})
        except ValueError:
            self._load_model(before)
            raise
        self.epoch, self.step, self.history = told["epoch"], told["step"], told["history"]
        for name in _KEPT:
            self.history.setdefault(name, [])
        randomness.restore(arrays["random"], told["random"])


def _below(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


class _Mean:
    """A mean over samples, gathered batch by batch."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: float, count: int) -> None:
        self.total += value * count
        self.count += count

    def value(self, what: str) -> float:
        if not self.count:
            raise InvalidValue(f"{what} got a loader without samples")
        return self.total / self.count


def _hits(outputs: Array, targets: Array) -> Array:
    """Return, for each sample, whether the output is right."""
    if outputs.ndim > 1 and outputs.shape[-1] > 1:
        found = outputs.argmax(axis=-1)
        if targets.shape == outputs.shape:
            targets = targets.argmax(axis=-1)
        return np.asarray(found.reshape(-1) == targets.reshape(-1))
    return np.asarray((outputs > 0.5).reshape(-1) == (targets > 0.5).reshape(-1))
