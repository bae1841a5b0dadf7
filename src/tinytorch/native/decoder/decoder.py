"""A decoder's step from Python: its weights as one table, its cache where it lies.

The caller has checked everything: this goes to code that checks nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.aligned import address_of, aligned_empty
from tinytorch.native.attention import attention
from tinytorch.native.codecache import c_function
from tinytorch.native.decoder import layers
from tinytorch.native.encoder import dense
from tinytorch.native.encoder.encoder import Dense, Tables, places_of, run_stages
from tinytorch.native.encoder.frames import frame_of
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.pointers import types

Array = NDArray[Any]

# Multiply-adds of a step below which the threads' meetings cost more than their help.
_WORTH_SHARING = 1 << 19


@dataclass(frozen=True)
class Model:
    """What a decoder is made of, float32: weights are (in, out).

    words (vocabulary, H), places (positions, H); norms are pairs of gain and shift (H,), two for
    each layer and the last; layers are (weight, bias) pairs, four for each: (H, 3H) queries, keys
    and values side by side, (H, H), (H, F), (F, H). head is (H, vocabulary).
    """

    words: Array
    places: Array
    norms: Sequence[tuple[Array, Array]]
    layers: Sequence[tuple[Array, Array]]
    head: Array
    heads: int
    eps: float


def takes(width: int, inner: int) -> bool:
    """Say whether layers are made of whole vectors, as the compiled ones must be."""
    lanes = tile_shape(np.float32).lanes
    return width % lanes == 0 and inner % lanes == 0


@functools.cache
def _routine() -> Any:
    return c_function(layers.share_of, types.void(*(types.int64,) * 3))


def prepare() -> None:
    """Compile, or load, what every decoder needs beside what an encoder does."""
    _routine()


class Decoder:
    """A decoder with weights as they are now, for the sequences of one cache."""

    def __init__(self, model: Model, cache: Array) -> None:
        """Pack the weights; `cache` is float32 (layers, 2, B, A, T, d), C-contiguous."""
        H, V = model.head.shape
        F = model.layers[2][0].shape[1]
        tile = tile_shape(np.float32)
        wide = -(-V // tile.columns) * tile.columns
        head = np.zeros((H, wide), np.float32)
        head[:, :V] = model.head
        weights = [*model.layers, (head, np.zeros(wide, np.float32))]
        self._tables = Tables()
        table = self._tables.weights([Dense(w, bias) for w, bias in weights])
        norms = [self._tables.hold(part) for pair in model.norms for part in pair]
        d, B = H // model.heads, cache.shape[2]
        constants = np.zeros(16 + H, np.float32)
        constants[:3] = model.eps, math.log2(math.e) / math.sqrt(d), 1
        keys = -(-attention.BLOCK // tile.columns) * tile.columns
        sizes = {"mixed": B * H, "joined": 3 * B * H, "y": B * H, "inner": B * F}
        shared, size = places_of(sizes)
        room = attention._room_size(d, d, 0, tile, 1, keys)
        own, room_bytes = places_of({"x": B * H, "normal_at": B * H, "attention_at": room})
        work = B * sum(w.size for w, _ in weights)
        shares = threads.get_num_threads() if work >= _WORTH_SHARING else 1
        scratch = aligned_empty(size + shares * room_bytes, np.uint8)
        self._kept = (scratch, cache)
        self._logits = aligned_empty((B, wide), np.float32)
        self._vocabulary, self._shares = V, shares
        self._stages = layers.STAGES * (len(model.layers) // 4) + 1
        self._tokens = np.zeros(B, np.int64)
        start = address_of(scratch)
        self._frame = frame_of(layers.Frame, {
            "layers": len(model.layers) // 4, "H": H, "A": model.heads, "F": F, "V": wide,
            "T": cache.shape[4], "B": B, "eps": self._tables.hold(constants),
            "words": self._tables.hold(model.words), "places": self._tables.hold(model.places),
            "dense": self._tables.hold(np.array(table)),
            "norms": self._tables.hold(np.array(norms)),
            "key_block": keys, "strip": routines.addresses("float32")[2],
            "multiply": dense.address(),
            "cache": address_of(cache), "tokens": address_of(self._tokens),
            **{name: start + place for name, place in shared.items()}, **own,
            "logits": address_of(self._logits), "shares": shares,
            "rooms": start + size, "room_bytes": room_bytes,
        })  # fmt: skip
        self._position = layers.Frame._fields.index("position")

    def step(self, tokens: Array, position: int) -> Array:
        """Return the logits (B, vocabulary) after tokens (B,) at a position, all before it cached.

        Their keys and values are written to the cache. The logits are overwritten by the next step.
        """
        self._tokens[:] = tokens
        self._frame[self._position] = position
        run_stages(self._frame, _routine(), self._shares, self._stages)
        return self._logits[:, : self._vocabulary]
