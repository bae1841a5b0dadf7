"""A whole encoder from Python: weights as one table, and token ids to hidden states in one call.

The caller has checked ids, lengths and shapes: everything here goes to code that checks nothing.
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
from tinytorch.native.aligned import aligned_empty
from tinytorch.native.attention import attention, scores
from tinytorch.native.codecache import c_function, jit, prange
from tinytorch.native.encoder import layers
from tinytorch.native.encoder.dense import SIZE
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.pointers import call, types
from tinytorch.native.gemm.prepacked import PackedMatrix
from tinytorch.native.int8 import product as int8
from tinytorch.native.int8 import routines as int8_routines
from tinytorch.native.int8.addresses import address_of

Array = NDArray[Any]

# Rows of a block: the inner layer of so many, as wide as MiniLM's, fills most of the second cache.
_BLOCK = 72
# How much more than its part of the work a share of whole sequences may have.
_UNEVEN = 0.02
# Numbers before the zeros in the array that begins with eps.
_ZEROS_AT = 16


def _run(address, routine, shares, stages):
    """Compute all stages, the shares of each at once."""
    for number in range(stages):
        for share in prange(shares):
            call(routine, address, share, number)


@functools.cache
def _compiled() -> tuple[Any, Any]:
    size = types.int64
    routine = c_function(layers.share_of, types.void(size, size, size))
    run: Any = jit(parallel=True)(_run)
    run.compile((size,) * 4)
    run.disable_compile()
    return run, routine


@dataclass(frozen=True)
class Dense:
    """A linear layer: its weight, packed in floats or codes, and its bias (N,)."""

    weight: PackedMatrix | int8.Packed
    bias: Array

    def numbers(self, kept: list[Array]) -> list[int]:
        """Return it as compiled code takes it; what must stay in memory is added to `kept`."""
        bias = np.ascontiguousarray(self.bias, np.float32)
        weight = self.weight
        K, N = weight.shape
        kept.append(bias)
        if isinstance(weight, PackedMatrix):
            kept.append(weight.view)
            return [0, address_of(weight.view), K, N, address_of(bias), *[0] * (SIZE - 5)]
        columns = aligned_empty(weight.columns.shape, np.int32)
        columns[...] = weight.columns
        columns[3, :N] = bias.view(np.int32)
        kept += [weight.codes, weight.starts, weight.kinds, columns]
        w = weight.numbers
        rest = [w.starts, w.kinds, address_of(columns), w.column_bytes, w.steps]
        return [1, w.start, K, N, address_of(bias), *rest, weight.dot.padded(K), 0]


@dataclass(frozen=True)
class Model:
    """What an encoder is made of, float32.

    words (vocabulary, H) and places (positions, H) are embeddings; norms are pairs of gain and
    shift, (H,) each: the embeddings' first, then two for each layer. weights are four for each
    layer: queries, keys and values side by side (H, 3H), of which only the queries' bias counts;
    the projection behind attention (H, H), whose bias must hold what the values' comes to; (H, F)
    and (F, H). They are packed, and either all but the first of each layer are codes, or none.
    """

    words: Array
    places: Array
    norms: Sequence[tuple[Array, Array]]
    weights: Sequence[Dense]
    heads: int
    activation: str
    eps: float

    @property
    def width(self) -> int:
        """H."""
        return int(self.words.shape[1])

    @property
    def inner(self) -> int:
        """F."""
        return self.weights[2].weight.shape[1]


def takes(width: int, inner: int, heads: int) -> bool:
    """Say whether layers of these sizes are made of whole vectors, as the compiled ones must be."""
    lanes = tile_shape(np.float32).lanes
    return width % lanes == 0 and inner % lanes == 0 and width % heads == 0


class Encoder:
    """A model as compiled code takes it."""

    def __init__(self, model: Model) -> None:
        """Make the tables."""
        self._model = model
        self._kept: list[Array] = []
        dense = [number for weight in model.weights for number in weight.numbers(self._kept)]
        norms = [self._hold(part) for pair in model.norms for part in pair]
        H, F, A = model.width, model.inner, model.heads
        constants = np.zeros(_ZEROS_AT + 3 * max(H, F), np.float32)
        constants[:2] = model.eps, math.log2(math.e) / math.sqrt(H // A)
        score, (tile, pack, strip) = scores.address("float32"), routines.addresses("float32")
        self._tile = tile_shape(np.float32)
        self._block = max(1, _BLOCK // self._tile.rows) * self._tile.rows
        self._group = attention.TILES * self._tile.rows
        self._keys = -(-attention.BLOCK // self._tile.columns) * self._tile.columns
        self._about = {
            "layers": len(model.weights) // 4, "H": H, "A": A, "F": F,
            "activation": ACTIVATIONS[model.activation],
            "eps": self._hold(constants),
            "words": self._hold(model.words), "places": self._hold(model.places),
            "dense": self._hold(np.array(dense)), "norms": self._hold(np.array(norms)),
            "block": self._block, "group": self._group, "key_block": self._keys,
            "score": score, "tile": tile, "pack": pack, "strip": strip,
            **self._coding(),
        }  # fmt: skip

    def _hold(self, array: Array) -> int:
        """Keep an array in memory, and return its address."""
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        self._kept.append(np.ascontiguousarray(array, kind))
        return address_of(self._kept[-1])

    def _coding(self) -> dict[str, int]:
        """Return the numbers of INT8 products, and the bytes of scratch that they need."""
        coded = [w.weight for w in self._model.weights if isinstance(w.weight, int8.Packed)]
        self._code_room = 0
        if not coded:
            return {}
        dot = coded[0].dot
        block = -(-self._block // dot.rows) * dot.rows
        widest = max(dot.padded(weight.shape[0]) for weight in coded) * dot.code_bytes
        codes, numbers = -(-block * widest // 64) * 64, -(-block * 4 // 64) * 64
        self._code_room = codes + 2 * numbers + 4 * dot.rows * dot.columns * 4 + 64
        prepare, tile, finish = int8_routines.addresses(
            dot.name, dot.code_bytes, "float32", "float32"
        )
        return {
            "rows": dot.rows, "columns": dot.columns, "code_block": block,
            "code_bytes": dot.code_bytes, "top": dot.top,
            "prepare": prepare, "dot": tile, "finish": finish,
            "scales_at": codes, "zeros_at": codes + numbers, "sums_at": codes + 2 * numbers,
        }  # fmt: skip

    def states(self, ids: Array, lengths: Sequence[int]) -> Array:
        """Return the hidden states (T, H) of sequences one behind the other; ids are int64."""
        T, H = len(ids), self._model.width
        out = aligned_empty((T, H), np.float32)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(T) - np.repeat(starts[:-1], lengths)
        bounds, is_apart = self._bounds(starts, min(threads.get_num_threads(), T))
        shares = len(bounds) - 1
        room, places = self._room(int(max(lengths)), is_apart)
        shared = 0 if is_apart else 2 * 12 * T * H
        mixed = -(-4 * T * H // 64) * 64
        start = _ROOM.address(shared + mixed + shares * room)
        call = {
            **self._about, **places,
            "ids": address_of(ids), "positions": address_of(positions),
            "starts": address_of(starts), "sequences": len(lengths),
            "bounds": address_of(bounds), "states": address_of(out),
            "mixed": start, "joined": start + mixed,
            "is_apart": int(is_apart), "rooms": start + mixed + shared, "room_bytes": room,
        }  # fmt: skip
        names: tuple[str, ...] = layers.Frame._fields
        frame = np.array([call.get(name, 0) for name in names])
        run, routine = _compiled()
        stages = 1 if is_apart else self._about["layers"] + 1
        run(address_of(frame), routine.address, shares, stages)
        return out

    def _room(self, longest: int, is_apart: bool) -> tuple[int, dict[str, int]]:
        """Return the bytes of a share's scratch, and where its parts begin."""
        model, rows = self._model, self._block
        d = model.width // model.heads
        sizes = {
            "y": rows * model.width,
            "inner_at": rows * model.inner,
            "attention_at": attention._room_size(
                d, d, longest, self._tile, self._group, self._keys
            ),
            "codes_at": self._code_room // 4,
            "joined_at": 3 * model.width * max(longest, rows) if is_apart else 0,
        }
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = end
            end += -(-4 * size // 64) * 64
        return end, places

    def _bounds(self, starts: Array, shares: int) -> tuple[Array, bool]:
        """Return where the shares' rows begin, for equal work, and whether no sequence is cut."""
        H, F, T = self._model.width, self._model.inner, int(starts[-1])
        row = 2 * H + F  # multiply-adds of a row's products, and of a key, in units of 2H
        lengths = np.diff(starts)
        work = np.concatenate([[0], np.cumsum(lengths * (row + lengths))])
        wanted = work[-1] * np.arange(shares + 1) / shares
        near = np.abs(work[:, None] - wanted).argmin(axis=0)
        apart = np.diff(work[near])
        if len(set(near.tolist())) == shares + 1 and apart.max() <= (1 + _UNEVEN) * wanted[1]:
            return starts[near].astype(np.int64), True
        inside = np.interp(wanted, work, starts)
        bounds = np.rint(inside).astype(np.int64)
        bounds[-1] = T
        return bounds, False


_ROOM = int8._Room()
