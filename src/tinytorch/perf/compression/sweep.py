"""Where zeros pay: a dense layer and sparse ones in turns, over the share of zeros.

Each format meets zeros of its own kind: single weights at random for CSR, whole blocks for blocks.
A speed-up rises with the share of zeros; where it passes 1, the format begins to pay.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import backends, ops
from tinytorch.errors import InvalidValue, MissingDependency, VerificationError
from tinytorch.kernels import sparse
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.sample import Measurement
from tinytorch.measure.stats import Interval, ratio_interval
from tinytorch.ops.spec import Array
from tinytorch.ops.verify import verify
from tinytorch.perf.compression.sparse import BLOCKS, format_name

FORMATS = {format_name(block): block for block in BLOCKS}
SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
DENSE, SCIPY = "dense", "SciPy CSR"


@dataclass(frozen=True)
class Layer:
    """A layer to sweep over: tokens, inputs, outputs."""

    tokens: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.tokens}x{self.inputs}x{self.outputs}"


@dataclass(frozen=True)
class Point:
    """What was measured at one share of zeros (0 to 1): by contender, `dense` among them."""

    zeros: float
    taken: dict[str, Measurement]

    def speedup(self, name: str) -> Interval:
        """Return how many times faster than dense a contender is."""
        return ratio_interval(self.taken[DENSE].seconds, self.taken[name].seconds)


@dataclass(frozen=True)
class Crossover:
    """From which share of zeros a format beats dense: interpolated, with the bounds of intervals.

    None stands for never, as far as was measured; `is_first` says that it did from the first share
    on.
    """

    share: float | None
    low: float | None
    high: float | None
    is_first: bool = False


def _crossing(shares: Sequence[float], speedups: Sequence[float]) -> float | None:
    """Return where a speed-up passes 1 for good, its logarithm joined by straight lines."""
    logs = [math.log(value) for value in speedups]
    below = [i for i, value in enumerate(logs) if value < 0]
    if not below:
        return shares[0]
    last = below[-1]
    if last == len(shares) - 1:
        return None
    a, b = logs[last], logs[last + 1]
    return shares[last] + (shares[last + 1] - shares[last]) * -a / (b - a)


def crossover(points: Sequence[Point], name: str) -> Crossover:
    """Return from which share of zeros on a contender of a sweep beats dense."""
    shares = [point.zeros for point in points]
    found = [point.speedup(name) for point in points]
    share, low, high = (
        _crossing(shares, [getattr(interval, end) for interval in found])
        for end in ("median", "high", "low")
    )
    return Crossover(share, low, high, share == shares[0])


def pruned(layer: Layer, zeros: float, block: tuple[int, int], seed: int = 0) -> Array:
    """Return a weight (inputs, outputs) with that share of its blocks 0, drawn at random."""
    R, W = block
    rng = np.random.default_rng([seed, layer.inputs, layer.outputs, R, W])
    weight = rng.standard_normal((layer.inputs, layer.outputs)).astype(np.float32)
    high, wide = -(-layer.inputs // W), -(-layer.outputs // R)
    order = rng.permutation(high * wide)
    kept = np.ones(high * wide, np.float32)
    kept[order[: round(zeros * kept.size)]] = 0
    mask = kept.reshape(high, wide).repeat(W, axis=0).repeat(R, axis=1)
    return weight * mask[: layer.inputs, : layer.outputs]


def _judged(name: str, weight: sparse.SparseWeight, x: Array, bias: Array, y: Array) -> None:
    arrays = (x, weight.values, weight.columns, weight.starts, bias)
    verify(ops.get("sparse_linear"), arrays, y).require(name)


def _scipy_call(weight: Array, x: Array, wanted: Array) -> Callable[[], Any]:
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise MissingDependency(
            "SciPy", "its sparse product beside ours", "pip install scipy"
        ) from error
    rows, turned = csr_array(weight.T), np.ascontiguousarray(x.T)
    if not np.allclose((rows @ turned).T, wanted, rtol=1e-3, atol=1e-3):
        raise VerificationError("SciPy's sparse product is not that of the dense weight")
    return functools.partial(rows.__matmul__, turned)


def _calls(layer: Layer, zeros: float, with_scipy: bool) -> dict[str, Callable[[], Any]]:
    """Return verified calls, each into an output of its own (SciPy's apart, which takes none)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((layer.tokens, layer.inputs)).astype(np.float32)
    bias = rng.standard_normal(layer.outputs).astype(np.float32)
    calls: dict[str, Callable[[], Any]] = {}
    for name, block in FORMATS.items():
        dense = pruned(layer, zeros, block)
        weight = sparse.blocks(dense, block)
        y = aligned_empty((layer.tokens, layer.outputs), np.float32)
        calls[name] = functools.partial(sparse.sparse_linear, x, weight, bias, y)
        _judged(name, weight, x, bias, calls[name]())
        if name == "CSR":
            kernel = backends.get("native").choose("linear", (x, dense, bias), {})
            out = aligned_empty(y.shape, np.float32)
            calls[DENSE] = functools.partial(kernel.function, x, dense, bias, out=out)
            _judged(DENSE, weight, x, bias, calls[DENSE]())
            if with_scipy:
                calls[SCIPY] = _scipy_call(dense, x, y - bias)
    return calls


def sweep(
    layer: Layer,
    shares: Sequence[float] = SHARES,
    *,
    effort: Effort | None = None,
    with_scipy: bool = False,
    on_share: Callable[[str, float], None] | None = None,
) -> tuple[Point, ...]:
    """Verify, then time in turns, a dense layer and sparse ones at each share of zeros (rising).

    `with_scipy` adds SciPy's CSR product, of W.T and x.T, on one thread as it is. Raises
    InvalidValue for shares that don't rise within 0 to 1, MissingDependency without SciPy.
    """
    if not shares or any(b <= a for a, b in itertools.pairwise(shares)):
        raise InvalidValue(f"shares of zeros must rise, got {list(shares)}")
    if shares[0] < 0 or shares[-1] > 1:
        raise InvalidValue(f"shares of zeros must be 0 to 1, got {list(shares)}")
    points = []
    for i, zeros in enumerate(shares):
        if on_share:
            on_share(f"{zeros:.0%} zeros", i / len(shares))
        calls = _calls(layer, zeros, with_scipy)
        points.append(Point(zeros, race(calls, effort=effort)))
    return tuple(points)
