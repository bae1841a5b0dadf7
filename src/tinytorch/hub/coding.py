"""An encoder in INT8: what each layer's activations are like, and weights in codes that suit them.

A few channels of a transformer's states are many times as large as the rest, in every text, and
codes of one scale a row have to reach that far. Xiao et al., "SmoothQuant" (2023): dividing each
channel of the activations by a factor, and multiplying the weight's row by it, changes nothing but
how hard each is to round; the square root of what both hold is fair to both. How large channels
get is found by running a few sentences in float32.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.backends import use_backend
from tinytorch.hub.dense import PlainDense, QuantizedDense
from tinytorch.hub.folder import Array

if TYPE_CHECKING:
    from tinytorch.hub.bert import Block, Encoder

# What channels are measured by: plain sentences, a question, figures, a very short one.
_TEXTS = (
    "It was the best of times, it was the worst of times.",
    "How much is 3 + 4?",
    "Please send the report to the office by noon (or later).",
    "Yes.",
    "A function returns an object; its name, like any other, is bound in the local namespace.",
)
_LAYERS = ("attend", "project", "widen", "narrow")
# The largest code of the inner layer's weights where products of bytes are summed in int16
# (maddubs): a sum of 8 then fits in 19 of 20 cases, where with 127 it does in 1 of 4, and the rest
# are widened twice. Activations, in 7 bits there, are rounded more than weights in either.
_SUMMED_TOP = 85


class _Recorded:
    """Stands in for a layer, and keeps the largest magnitude of each channel that it is given."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.bias = inner.bias
        self.largest = np.zeros(inner.weight.shape[0], np.float32)

    def __call__(self, x: Array, *args: Any, **options: Any) -> Any:
        np.maximum(self.largest, np.abs(x).max(axis=0), out=self.largest)
        return self._inner(x, *args, **options)


def _watched(block: Block) -> Block:
    stand_ins: dict[str, Any] = {name: _Recorded(getattr(block, name)) for name in _LAYERS}
    return dataclasses.replace(block, **stand_ins)


def _ranges(encoder: Encoder) -> list[dict[str, Array]]:
    """Return, for each block, the largest magnitude of each channel before each layer."""
    watched = copy.copy(encoder)
    watched.blocks = [_watched(block) for block in encoder.blocks]
    with use_backend("numpy"):
        watched.forward(encoder.tokenizer.encode(list(_TEXTS)))
    return [{name: getattr(b, name).largest for name in _LAYERS} for b in watched.blocks]


def _factors(largest: Array, weight: Array) -> Array:
    """Return what to divide each channel by, float32 (K,): their geometric mean is 1."""
    logs = 0.5 * (
        np.log(np.maximum(largest, 1e-3)) - np.log(np.maximum(np.abs(weight).max(axis=1), 1e-6))
    )
    return np.asarray(np.exp(logs - logs.mean()), np.float32)


def _coded(
    dense: PlainDense, factors: Array | None, groups: int = 0, top: int = 127
) -> QuantizedDense:
    """Return a layer in codes up to `top`, its depth in parts that keep any `groups` whole."""
    from tinytorch.kernels.quantized import prepack, weight_codes
    from tinytorch.native.encoder.coded_encoder import parts_for

    weight = dense.weight if factors is None else dense.weight * factors[:, None]
    inverse = None if factors is None else 1 / factors
    parts = parts_for(weight.shape[0], groups) if groups else 1
    packed = tuple(prepack(*weight_codes(part, top)) for part in np.split(weight, parts))
    return QuantizedDense(packed, dense.bias, inverse)


def _coded_block(block: Block, ranges: dict[str, Array], heads: int) -> Block:
    from tinytorch.native.int8 import dots

    attend, project, widen, narrow = (getattr(block, name) for name in _LAYERS)
    top = _SUMMED_TOP if dots.fastest().name == "maddubs" else 127
    F = narrow.weight.shape[0]
    # Attention takes means of values, so what they are divided by, its output is divided by.
    through = _factors(ranges["project"], project.weight)
    weight, bias = attend.weight.copy(), attend.bias.copy()
    H = through.size
    weight[:, 2 * H :] /= through
    bias[2 * H :] /= through
    attend = PlainDense(weight, bias)
    project = PlainDense(project.weight * through[:, None], project.bias)
    return dataclasses.replace(
        block,
        attend=_coded(attend, _factors(ranges["attend"], weight)),
        project=_coded(project, None, heads),
        widen=_coded(widen, _factors(ranges["widen"], widen.weight), top=top),
        narrow=_coded(narrow, _factors(ranges["narrow"], narrow.weight), F, top),
    )


def coded(encoder: Encoder) -> Encoder:
    """Return an encoder with its products in INT8 codes."""
    made = copy.copy(encoder)
    ranges = _ranges(encoder)
    made.blocks = [
        _coded_block(block, own, encoder.config.heads)
        for block, own in zip(encoder.blocks, ranges, strict=True)
    ]
    return made
