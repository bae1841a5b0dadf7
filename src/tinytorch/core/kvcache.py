"""Keys and values kept from token to token, so that a new token costs one row, not the sequence.

Without it, generating token t computes the keys and values of all t tokens before it again: the
work of n tokens grows with n^2. With it, each is computed once.

Shape letters: B sequences, L layers, H heads, T positions, d the width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.core.layers import as_tensor, positive_int
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = ["KVCache", "LayerMemory"]


class KVCache:
    """Room for the keys and values of `max_seq_len` positions, float32 (L, 2, B, H, T, d).

    `update` writes a layer's keys and values from position `seq_pos` on, `advance` moves on when
    every layer has written, `get` returns what lies before `seq_pos`.
    """

    def __init__(
        self, batch_size: int, max_seq_len: int, num_layers: int, num_heads: int, head_dim: int
    ) -> None:
        """Reserve the room. Raises InvalidValue for sizes below 1."""
        self.batch_size = positive_int(batch_size, "batch_size")
        self.max_seq_len = positive_int(max_seq_len, "max_seq_len")
        self.num_layers = positive_int(num_layers, "num_layers")
        self.num_heads = positive_int(num_heads, "num_heads")
        self.head_dim = positive_int(head_dim, "head_dim")
        self.seq_pos = 0
        self._written = 0
        self._room = self._empty()

    def _empty(self) -> Array:
        shape = (self.num_layers, 2, self.batch_size, self.num_heads)
        return np.zeros((*shape, self.max_seq_len, self.head_dim), np.float32)

    def _layer(self, layer_idx: int) -> Array:
        if not 0 <= layer_idx < self.num_layers:
            raise InvalidValue(
                f"layer index {layer_idx} is out of range: the cache has {self.num_layers} layers"
            )
        room: Array = self._room[layer_idx]
        return room

    def update(self, layer_idx: int, key: Any, value: Any) -> None:
        """Write keys and values (B, H, n, d) of the n positions from `seq_pos` on, n mostly 1.

        Raises InvalidValue when the cache is full or there is no such layer, ShapeError for other
        shapes.
        """
        room = self._layer(layer_idx)
        both = [as_tensor(array)._data for array in (key, value)]
        count = both[0].shape[2] if both[0].ndim == 4 else 0
        shape = (self.batch_size, self.num_heads, count, self.head_dim)
        if not count or any(array.shape != shape for array in both):
            raise ShapeError(
                f"the cache takes keys and values of shape ({self.batch_size}, {self.num_heads}, "
                f"n, {self.head_dim}), got {both[0].shape} and {both[1].shape}"
            )
        if self.seq_pos + count > self.max_seq_len:
            raise InvalidValue(
                f"the cache is full: position {self.seq_pos + count - 1} is beyond its "
                f"{self.max_seq_len}; reset() it, or make it longer"
            )
        room[0, :, :, self.seq_pos : self.seq_pos + count] = both[0]
        room[1, :, :, self.seq_pos : self.seq_pos + count] = both[1]
        self._written = count

    def get(self, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Return a layer's keys and values before `seq_pos`, (B, H, seq_pos, d) each, as views."""
        return self._upto(layer_idx, self.seq_pos)

    def _upto(self, layer_idx: int, end: int) -> tuple[Tensor, Tensor]:
        keys, values = self._layer(layer_idx)[..., :end, :]
        return Tensor(keys), Tensor(values)

    def advance(self) -> None:
        """Move on by what was written: by one position, or by a whole prompt."""
        self.seq_pos += max(1, self._written)
        self._written = 0

    def reset(self) -> None:
        """Forget everything."""
        self.seq_pos = self._written = 0

    def get_memory_usage(self) -> dict[str, float]:
        """Return total_mb, per_layer_mb (of 2^20 bytes), cache_tensors and total_elements."""
        total = self._room.nbytes / 2**20
        return {
            "total_mb": total,
            "per_layer_mb": total / self.num_layers,
            "cache_tensors": 2 * self.num_layers,
            "total_elements": self._room.size,
        }

    def begin(self, batch: int, length: int) -> int:
        """Make ready for `length` tokens of `batch` sequences; return the first one's position.

        One token goes on from where the cache is (what was written and not advanced over counts);
        several begin anew.
        """
        if length > 1:
            self.reset()
        elif self._written:
            self.advance()
        if batch != self.batch_size:
            if self.seq_pos:
                raise ShapeError(
                    f"the cache holds {self.batch_size} sequences and can't go on with {batch}: "
                    "reset() it first"
                )
            self.batch_size = batch
            self._room = self._empty()
        if self.seq_pos + length > self.max_seq_len:
            raise InvalidValue(
                f"the cache is full: it holds {self.max_seq_len} positions; reset() it"
            )
        return self.seq_pos

    @property
    def room(self) -> Array:
        """The keys and values of all layers, float32 (L, 2, B, H, T, d), for who writes them."""
        return self._room

    def keep_one(self) -> None:
        """Take notice that every layer's `room` now holds one position more."""
        if self._written:
            self.advance()
        self._written = 1

    @property
    def ends_at(self) -> int:
        """How many positions are written, advanced over or not."""
        return self.seq_pos + self._written


@dataclass(frozen=True)
class LayerMemory:
    """One layer's part of a cache."""

    cache: KVCache
    index: int

    def recall(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of new tokens, and return those of all up to them."""
        self.cache.update(self.index, keys, values)
        if not self.cache.seq_pos:
            return keys, values  # as they are: gradients may be wanted
        return self.cache._upto(self.index, self.cache.seq_pos + keys.shape[2])
