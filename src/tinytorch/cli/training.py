"""Networks that learn, for the journey: digits by an MLP and a CNN, Python's source by a GPT."""

from __future__ import annotations

import inspect
import math
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinytorch
from tinytorch import data as read
from tinytorch.backends.auto import UNTUNED_ORDER
from tinytorch.core.activations import ReLU
from tinytorch.core.convolutions import Conv2d, MaxPool2d
from tinytorch.core.dataloader import DataLoader, TensorDataset
from tinytorch.core.layers import Linear, Sequential
from tinytorch.core.losses import CrossEntropyLoss
from tinytorch.core.optimizers import Adam, AdamW
from tinytorch.core.shaping import Flatten
from tinytorch.core.tensor import Tensor
from tinytorch.core.tokenization import CharTokenizer
from tinytorch.core.training import CosineSchedule, Trainer, clip_grad_norm
from tinytorch.core.transformers import GPT
from tinytorch.kernels import registry

BATCH = 32
GPT_STEPS, GPT_BATCH = 300, 16
EPOCHS = {"MLP": 12, "CNN": 8}
TEXT_BYTES = 500_000
LENGTH = 64

# What training dispatches: their kernels are compiled before it begins.
_OPS = (
    "linear",
    "attention_and_logs",
    "attention_gradient",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "max_pool2d",
    "max_pool2d_gradient",
    "layer_norm",
    "layer_norm_gradient",
    "cross_entropy",
    "cross_entropy_gradient",
    "gelu",
    "gelu_gradient",
    "adam",
    "add_rows",
    "relu",
    "activation_gradient",
)

OnStep = Callable[[int, list[float]], object]


def kernels() -> list[str]:
    """Return the kernels that training runs under an untuned `auto`, each as "op/rung"."""
    return [f"{op}/{rung}" for op in _OPS for rung in _run_untuned(op)]


def _run_untuned(op: str) -> Iterator[str]:
    """Yield the rungs that `auto` may choose: the first one that is worthwhile at any size ends."""
    for rung in UNTUNED_ORDER:
        if rung in registry.rung_names(op):
            yield rung
            if not registry.get(op, rung).worthwhile_from:
                return


def mlp() -> Sequential:
    """Return a multi-layer perceptron for images of 1 x 8 x 8 pixels."""
    return Sequential(Flatten(), Linear(64, 128), ReLU(), Linear(128, 64), ReLU(), Linear(64, 10))


def cnn() -> Sequential:
    """Return a convolutional network for images of 1 x 8 x 8 pixels."""
    return Sequential(
        Conv2d(1, 16, kernel_size=3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 32, kernel_size=3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(32 * 2 * 2, 10),
    )


NETWORKS = {"MLP": mlp, "CNN": cnn}


@dataclass
class Trained:
    """What came of training a network under a backend: the loss of each step, and seconds.

    `accuracy` is the share of test images that are right, or None where time was up before `of`
    steps were done.
    """

    network: str
    backend: str
    of: int
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    accuracy: float | None = None

    @property
    def steps_per_s(self) -> float:
        """Steps a second, the first one (which may compile) and all others counted alike."""
        return len(self.losses) / self.seconds


def _split() -> tuple[TensorDataset, TensorDataset]:
    images, labels = read.digits()
    test = np.arange(len(images)) % 10 == 0
    parts = (
        TensorDataset(Tensor(images[part][:, None]), Tensor(labels[part], dtype=np.int64))
        for part in (~test, test)
    )
    return next(parts), next(parts)


class _TimeIsUp(Exception):
    """Ends a training that was given too little time for all its steps."""


def train_digits(
    network: str, backend: str, on_step: OnStep, seconds: float | None = None
) -> Trained:
    """Train a network on the digits under a backend, for all its epochs or until `seconds` are up.

    The first step is always finished. Raises MissingDependency without scikit-learn.
    """
    known, test = _split()
    tinytorch.manual_seed(0)
    epochs = EPOCHS[network]
    found = Trained(network, backend, epochs * -(-len(known) // BATCH))
    criterion = CrossEntropyLoss()
    start = time.perf_counter()

    def loss_fn(output: Tensor, target: Any) -> Tensor:
        loss: Tensor = criterion(output, target)
        if trainer.model.training:
            found.losses.append(loss.item())
        return loss

    def batches() -> Iterator[Any]:
        for batch in DataLoader(known, BATCH, shuffle=True):
            found.seconds = time.perf_counter() - start
            if seconds is not None and found.losses and found.seconds > seconds:
                raise _TimeIsUp
            if found.losses:
                on_step(found.of, found.losses)
            yield batch

    with tinytorch.use_backend(backend):
        model = NETWORKS[network]()
        schedule = CosineSchedule(0.004, 0.0, epochs)
        optimizer = Adam(model.parameters(), lr=schedule.get_lr(0))
        trainer = Trainer(model, optimizer, loss_fn, schedule)
        try:
            for _ in range(epochs):
                trainer.train_epoch(batches())
        except _TimeIsUp:
            return found
        found.seconds = time.perf_counter() - start
        found.accuracy = trainer.evaluate(DataLoader(test, BATCH))[1]
    return found


@dataclass(frozen=True)
class Author:
    """A GPT that has read Python's own source, and the text that it learned from."""

    model: GPT
    tokenizer: CharTokenizer
    trained: Trained

    @property
    def guessing(self) -> float:
        """The loss of one who takes every character for equally likely."""
        return math.log(self.tokenizer.vocab_size)

    def write(self, prompt: str, characters: int) -> str:
        """Return the prompt and what the model goes on with, drawn with a fixed seed."""
        tinytorch.manual_seed(0)
        start = np.array(self.tokenizer.encode(prompt))
        tokens = self.model.generate(start, max_new_tokens=characters, temperature=0.6)
        return self.tokenizer.decode(tokens.numpy()[0].tolist())


def train_gpt(on_step: OnStep, steps: int = GPT_STEPS, width: int = 64, layers: int = 2) -> Author:
    """Train a GPT on the source of Python's standard library, under the current backend."""
    tinytorch.manual_seed(0)
    source = read.text(sysconfig.get_paths()["stdlib"], "*.py", limit=TEXT_BYTES)
    tokenizer = CharTokenizer()
    tokens = np.array(tokenizer.encode(source))
    model = GPT(tokenizer.vocab_size, width, layers, 4, max_seq_len=LENGTH)
    optimizer, loss_fn = AdamW(model.parameters(), lr=4e-3), CrossEntropyLoss()
    schedule = CosineSchedule(4e-3, 2e-4, steps)
    found = Trained("GPT", tinytorch.get_backend().name, steps)
    start = time.perf_counter()
    for step in range(steps):
        starts = np.random.randint(0, len(tokens) - LENGTH - 1, GPT_BATCH)
        pieces = tokens[starts[:, None] + np.arange(LENGTH + 1)]
        optimizer.lr = schedule.get_lr(step)
        optimizer.zero_grad()
        loss = loss_fn(model(pieces[:, :-1]), pieces[:, 1:])
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        found.losses.append(loss.item())
        found.seconds = time.perf_counter() - start
        on_step(steps, found.losses)
    return Author(model, tokenizer, found)


def count(model: GPT) -> int:
    """Return how many numbers a model has learned."""
    return sum(p.size for p in model.parameters())


def source() -> str:
    """Return the networks' text, as the report shows it."""
    return "\n\n".join(inspect.getsource(build) for build in (mlp, cnn))
