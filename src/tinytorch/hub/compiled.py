"""An encoder as the compiled layers take it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tinytorch.hub.dense import QuantizedDense
from tinytorch.hub.folder import Array
from tinytorch.native.encoder.coded_encoder import CodedDense, CodedEncoder
from tinytorch.native.encoder.encoder import Dense, Encoder, Model, takes

if TYPE_CHECKING:
    from tinytorch.hub import bert

_LAYERS = ("attend", "project", "widen", "narrow")


def _parts(dense: QuantizedDense, bias: Array, even: Array | None = None) -> list[CodedDense]:
    """Return a layer's parts, each with the whole bias, which is added once."""
    return [CodedDense(part.packed, bias, dense.inverse, even) for part in dense.parts]


def _plain(encoder: bert.Encoder, model: Model) -> Encoder:
    layers: list[Dense] = []
    for block in encoder.blocks:
        biases = {"project": block.project_bias}
        for name in _LAYERS:
            dense = getattr(block, name)
            layers.append(Dense(dense.weight, biases.get(name, dense.bias)))
    return Encoder(dataclasses.replace(model, weights=layers))


def _coded(encoder: bert.Encoder, model: Model) -> CodedEncoder:
    layers: list[CodedDense] = []
    for block in encoder.blocks:
        attend, project, widen, narrow = (getattr(block, name) for name in _LAYERS)
        layers += _parts(attend, attend.bias)
        layers += _parts(project, block.project_bias)
        layers += _parts(widen, widen.bias, narrow.inverse)
        layers += _parts(narrow, narrow.bias)
    return CodedEncoder(dataclasses.replace(model, weights=layers), len(project.parts))


def compiled(encoder: bert.Encoder) -> Encoder | None:
    """Return an encoder in compiled code, or None for sizes that it doesn't take."""
    config = encoder.config
    if not takes(config.width, config.inner, config.heads):
        return None
    norms = [encoder.norm]
    for block in encoder.blocks:
        norms += [block.after_attention, block.after_network]
    model = Model(
        encoder.words,
        encoder.places,
        [(norm.gain, norm.bias) for norm in norms],
        [],
        config.layers,
        config.heads,
        config.inner,
        config.activation,
        config.eps,
    )
    is_coded = isinstance(encoder.blocks[0].attend, QuantizedDense)
    return _coded(encoder, model) if is_coded else _plain(encoder, model)
