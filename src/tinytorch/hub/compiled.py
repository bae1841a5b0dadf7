"""An encoder as the compiled layers take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinytorch.hub.dense import PlainDense, QuantizedDense
from tinytorch.hub.folder import Array
from tinytorch.native.encoder.encoder import Dense, Encoder, Model, takes

if TYPE_CHECKING:
    from tinytorch.hub import bert


def _layers(dense: PlainDense | QuantizedDense, bias: Array, *, apart: bool) -> list[Dense]:
    """Return a layer's parts; the first has the bias."""
    if isinstance(dense, PlainDense):
        return [Dense(dense.weight, bias, is_bias_apart=apart)]
    cut: list[Array | None] = [None] * len(dense.parts)
    if dense.inverse is not None:
        cut = list(np.split(dense.inverse, len(dense.parts)))
    return [
        Dense(part.packed, bias if i == 0 else np.zeros_like(bias), inverse, is_bias_apart=apart)
        for i, (part, inverse) in enumerate(zip(dense.parts, cut, strict=True))
    ]


def compiled(encoder: bert.Encoder) -> Encoder | None:
    """Return an encoder in compiled code, or None for sizes that it doesn't take."""
    config = encoder.config
    if not takes(config.width, config.inner, config.heads):
        return None
    norms, layers = [encoder.norm], []
    for block in encoder.blocks:
        norms += [block.after_attention, block.after_network]
        layers += _layers(block.attend, block.attend.bias, apart=True)
        layers += _layers(block.project, block.project_bias, apart=False)
        layers += _layers(block.widen, block.widen.bias, apart=False)
        layers += _layers(block.narrow, block.narrow.bias, apart=False)
    model = Model(
        encoder.words,
        encoder.places,
        [(norm.gain, norm.bias) for norm in norms],
        layers,
        config.layers,
        config.heads,
        config.activation,
        config.eps,
    )
    return Encoder(model)
