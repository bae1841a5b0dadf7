"""Claims about networks: INT8, sparsity, a KV cache, where the time goes. On real digits."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np

from tinytorch.backends.recording import recording
from tinytorch.core.activations import ReLU
from tinytorch.core.layers import Linear, Sequential
from tinytorch.core.transformers import GPT
from tinytorch.measure.clock import Effort, compare
from tinytorch.perf import memoization, models
from tinytorch.perf.claims.claim import Claim, Finding, Reading, ratio
from tinytorch.perf.claims.digits import MODELS, fit, trained
from tinytorch.perf.compression import Masks, SparseLinear, magnitude_prune, prune_gradually
from tinytorch.perf.quantization import QuantizedLinear, analyze_model_sizes, quantize_model
from tinytorch.perf.quantization.calibration import METHODS


def _quantized(kind: str = "MLP", method: str = "minmax") -> Any:
    """Return a model in INT8, calibrated on the digits that it was trained with."""
    model = copy.deepcopy(trained(kind).model)
    return quantize_model(model, [trained(kind).train[0]], method)


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


def _accuracies() -> str:
    shares = ", ".join(f"{kind} {trained(kind).accuracy:.1%}" for kind in MODELS)
    return f"{shares} in float32, on {len(trained().test[0])} held-out digits"


def _int8_accuracy(seconds: float) -> Finding:
    readings = tuple(
        Reading.exact(f"{kind}, {method}, points lost", lost, "")
        for kind in MODELS
        for method in METHODS
        for lost in (trained(kind).points_lost(_quantized(kind, method)),)
    )
    return Finding(readings, f"calibrated on the training digits; {_accuracies()}")


def _sparse_accuracy(seconds: float) -> Finding:
    readings = []
    for kind in MODELS:
        base = trained(kind)
        cut, tuned = copy.deepcopy(base.model), copy.deepcopy(base.model)
        magnitude_prune(cut, 0.7)
        prune_gradually(tuned, 0.7, functools.partial(_tune, kind, tuned), steps=4)
        readings += [
            Reading.exact(f"{kind}, 70 % cut at once, points lost", base.points_lost(cut), ""),
            Reading.exact(f"{kind}, in 4 steps with training between", base.points_lost(tuned), ""),
        ]
    return Finding(tuple(readings), _accuracies())


def _tune(kind: str, model: Any, masks: Masks) -> None:
    fit(model, trained(kind).train, 4, masks)


def _sparse_speed(seconds: float) -> Finding:
    readings = []
    for share in (0.5, 0.7, 0.9, 0.99):
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
        "a dense product spends less on a zero than a sparse one on where a weight stands: 64 "
        "rows, 512 x 512, single weights; `tito bench sparse` draws it, blocks too",
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


@functools.cache
def _growths() -> tuple[tuple[str, memoization.Growth], ...]:
    model = GPT(vocab_size=256, embed_dim=256, num_layers=2, num_heads=8, max_seq_len=1025)
    ranges = ((64, 128, 256), (256, 512, 1024))
    return tuple(
        (f"{low[0]} to {low[-1]} tokens, exponent", memoization.measure_growth(model, low, 1))
        for low in ranges
    )


def _with_cache(seconds: float) -> Finding:
    found = (Reading.exact(name, growth.cached_exponent, "") for name, growth in _growths())
    return Finding(
        tuple(found),
        "fitted to the times of whole texts, by a GPT of 2 layers, 256 wide; attention still reads "
        "all earlier keys, which begins to show",
    )


def _without_cache(seconds: float) -> Finding:
    found = (Reading.exact(name, growth.uncached_exponent, "") for name, growth in _growths())
    return Finding(
        tuple(found),
        "all earlier tokens go through all layers for each new one; with few of them, what a step "
        "costs anyway (calls, reading the weights) hides that",
    )


CLAIMS = (
    Claim("int8-8", "INT8 compresses 8 times", 7.5, 8.5, _int8_size),
    Claim("int8-1", "INT8 loses under 1 % of accuracy", -100, 1, _int8_accuracy),
    Claim("sparse-70", "70 % sparsity, under 1 % of accuracy lost", -100, 1, _sparse_accuracy),
    Claim("sparse-fast", "pruned models run faster", 1.03, float("inf"), _sparse_speed),
    Claim("products-90", "networks spend 90 % of their time in products", 85, 100, _in_products),
    Claim("cache-linear", "with a KV cache, n tokens take O(n)", 0.8, 1.2, _with_cache),
    Claim("cache-without", "without one, O(n^2)", 1.8, 2.2, _without_cache),
)
