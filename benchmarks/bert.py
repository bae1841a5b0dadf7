"""A BERT's formulas in float64, one sequence at a time: what its implementations are held against.

Devlin et al., 2019; embeddings are the mean over a text's tokens, made of length 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_erf = np.frompyfunc(math.erf, 1, 1)


def lengths_of(mask: Array) -> Array:
    """Return how many tokens each row of a mask (B, T) keeps: the first ones."""
    return np.asarray(mask.sum(axis=1))


def pooled(states: Array, mask: Array) -> Array:
    """Return embeddings (B, H) of padded hidden states (B, T, H)."""
    kept = mask[..., None].astype(states.dtype)
    means = (states * kept).sum(axis=1) / kept.sum(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def _norm(x: Array, named: dict[str, Array], name: str, eps: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return np.asarray(scaled * named[f"{name}.weight"] + named[f"{name}.bias"])


def _layer(x: Array, named: dict[str, Array], name: str, config: dict[str, Any]) -> Array:
    def dense(x: Array, part: str) -> Array:
        return x @ named[f"{name}.{part}.weight"].T + named[f"{name}.{part}.bias"]

    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    q, k, v = (
        dense(x, f"attention.self.{part}").reshape(len(x), heads, -1).swapaxes(0, 1)
        for part in ("query", "key", "value")
    )
    scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ v
    mixed = dense(mixed.swapaxes(0, 1).reshape(len(x), -1), "attention.output.dense")
    x = _norm(x + mixed, named, f"{name}.attention.output.LayerNorm", eps)
    inner = dense(x, "intermediate.dense")
    inner = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)).astype(np.float64))
    return _norm(x + dense(inner, "output.dense"), named, f"{name}.output.LayerNorm", eps)


def embeddings(folder: Path, sequences: Sequence[Array]) -> Array:
    """Return the embedding of each sequence of token ids, float64 (sequences, H)."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    named = load_file(folder / "model.safetensors")
    named = {name: tensor.astype(np.float64) for name, tensor in named.items() if tensor.ndim}
    found = []
    for ids in sequences:
        x = named["embeddings.word_embeddings.weight"][ids]
        x = x + named["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + named["embeddings.token_type_embeddings.weight"][0]
        x = _norm(x, named, "embeddings.LayerNorm", config["layer_norm_eps"])
        for i in range(config["num_hidden_layers"]):
            x = _layer(x, named, f"encoder.layer.{i}", config)
        found.append(pooled(x[None], np.ones((1, len(ids))))[0])
    return np.array(found)
