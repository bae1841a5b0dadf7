"""Claims about networks: INT8, sparsity, where the time goes. A small MLP on real digits."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.backends.recording import recording
from tinytorch.core.activations import ReLU
from tinytorch.core.layers import Linear, Sequential
from tinytorch.core.losses import CrossEntropyLoss
from tinytorch.core.optimizers import Adam
from tinytorch.core.tensor import Tensor
from tinytorch.errors import MissingDependency
from tinytorch.measure.clock import Effort, compare
from tinytorch.perf import models
from tinytorch.perf.benchmarking.data import accuracy_of
from tinytorch.perf.claims.claim import Claim, Finding, Reading, ratio
from tinytorch.perf.compression import Masks, SparseLinear, magnitude_prune, prune_gradually
from tinytorch.perf.quantization import QuantizedLinear, analyze_model_sizes, quantize_model

_EPOCHS, _BATCH = 30, 64


@dataclass(frozen=True)
class Trained:
    """A model trained on scikit-learn's digits, and the two halves of the data."""

    model: Any
    train: tuple[Any, Any]
    test: tuple[Any, Any]

    @property
    def accuracy(self) -> float:
        """The share of the held-out digits that it gets right."""
        return self.accuracy_of(self.model)

    def accuracy_of(self, model: Any) -> float:
        """Return another model's accuracy on the same digits."""
        found = accuracy_of(model, self.test)
        assert found is not None
        return found


def _fit(model: Any, data: tuple[Any, Any], epochs: int, masks: Masks | None = None) -> None:
    x, y = data
    optimizer, loss_fn = Adam(model.parameters(), lr=2e-3), CrossEntropyLoss()
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), _BATCH):
            rows = order[start : start + _BATCH]
            optimizer.zero_grad()
            loss_fn(model(Tensor(x[rows])), Tensor(y[rows], dtype=np.int64)).backward()
            optimizer.step()
            if masks is not None:
                masks.apply()


@functools.cache
def trained() -> Trained:
    """Train an MLP 64-128-10 on the digits, every third held out; the same every time.

    Raises MissingDependency without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency(
            "scikit-learn", "a claim about accuracy", "pip install 'tinytorch-accel[demo]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32)
    held = np.arange(len(x)) % 3 == 0
    state = np.random.get_state()
    np.random.seed(0)
    model = Sequential(Linear(64, 128), ReLU(), Linear(128, 10))
    np.random.set_state(state)
    train = x[~held], labels[~held]
    _fit(model, train, _EPOCHS)
    return Trained(model, train, (x[held], labels[held]))


def _quantized() -> Any:
    model = copy.deepcopy(trained().model)
    return quantize_model(model, [trained().train[0]])


def _int8_size(seconds: float) -> Finding:
    sizes = analyze_model_sizes(trained().model, _quantized())
    wide = QuantizedLinear(Linear(768, 3072)).memory_usage()["compression_ratio"]
    return Finding(
        (
            Reading.exact("MLP 64-128-10", sizes["compression_ratio"]),
            Reading.exact("a layer of 768 x 3072", wide),
        ),
        "four bytes become one; scales, and the packed form that this CPU multiplies fastest, take "
        "some more; 8 would take 4-bit codes, or a float64 model",
    )


def _int8_accuracy(seconds: float) -> Finding:
    lost = 100 * (trained().accuracy - trained().accuracy_of(_quantized()))
    return Finding(
        (Reading.exact("digits, MLP, points lost", lost, ""),),
        f"{trained().accuracy:.1%} in float32, on {len(trained().test[0])} held-out digits",
    )


def _sparse_accuracy(seconds: float) -> Finding:
    cut = copy.deepcopy(trained().model)
    magnitude_prune(cut, 0.7)
    tuned = copy.deepcopy(trained().model)
    prune_gradually(tuned, 0.7, lambda masks: _fit(tuned, trained().train, 4, masks), steps=4)
    lost = [100 * (trained().accuracy - trained().accuracy_of(m)) for m in (cut, tuned)]
    return Finding(
        (
            Reading.exact("70 % cut at once, points lost", lost[0], ""),
            Reading.exact("in 4 steps with training between, points lost", lost[1], ""),
        ),
        f"{trained().accuracy:.1%} before, on {len(trained().test[0])} held-out digits",
    )


def _sparse_speed(seconds: float) -> Finding:
    readings = []
    for share in (0.7, 0.95, 0.99):
        layer = Linear(512, 512)
        magnitude_prune(layer, share)
        sparse, x = SparseLinear(layer), models.input_for(layer, (64, 512))
        found = compare(
            functools.partial(layer.forward, x),
            functools.partial(sparse.forward, x),
            effort=Effort(seconds=seconds),
        )
        readings.append(ratio(f"{share:.0%} zeros", found))
    return Finding(
        tuple(readings),
        "a dense product spends less on a zero than a sparse one on an index: 64 rows, 512 x 512",
    )


def _in_products(seconds: float) -> Finding:
    shares = []
    for width, name in ((128, "MLP of 128"), (1024, "MLP of 1024")):
        model = Sequential(Linear(width, width), ReLU(), Linear(width, width))
        x = models.input_for(model, (256, width))
        call = functools.partial(models.run, model, x)
        call()
        with recording() as recorder:
            taken = compare(call, call, effort=Effort(seconds=seconds)).baseline
        spent = [c for c in recorder.calls if c.op in ("matmul", "linear")]
        each = float(np.median([c.seconds for c in spent])) * 2
        shares.append(Reading.exact(name, 100 * min(1.0, each / taken.median), "%"))
    return Finding(tuple(shares), "of a forward pass, products with their bias; 256 rows")


CLAIMS = (
    Claim("int8-8", "INT8 compresses 8 times", 7.5, 8.5, _int8_size),
    Claim("int8-1", "INT8 loses under 1 % of accuracy", -100, 1, _int8_accuracy),
    Claim("sparse-70", "70 % sparsity, under 1 % of accuracy lost", -100, 1, _sparse_accuracy),
    Claim("sparse-fast", "pruned models run faster", 1.03, float("inf"), _sparse_speed),
    Claim("products-90", "networks spend 90 % of their time in products", 85, 100, _in_products),
)
