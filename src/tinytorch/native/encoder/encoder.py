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
from tinytorch.native.aligned import address_of, aligned_empty
from tinytorch.native.attention import attention, scores
from tinytorch.native.codecache import c_function, jit, prange
from tinytorch.native.encoder import dense, layers
from tinytorch.native.encoder.frames import frame_of
from tinytorch.native.encoder.layers import APART, BY_COLUMNS, BY_ROWS, STAGES
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.prepacked import pack
from tinytorch.native.pointers import call, types
from tinytorch.native.room import Room

Array = NDArray[Any]

# Rows of a block: the inner layer of so many, as wide as MiniLM's, fills most of the second cache.
_BLOCK = 72
# Rows up to which threads take columns of weights, not rows.
_FEW = 64
# How much more than its part of the work a share of whole sequences may have.
_UNEVEN = 0.02
# Numbers before the zeros in the array that begins with eps.
_ZEROS_AT = 16
# Batches whose plans are kept, by the lengths of their sequences.
_PLANS = 64


def _run(address, routine, shares, stages):
    """Compute all stages, the shares of each at once."""
    for number in range(stages):
        for share in prange(shares):
            call(routine, address, share, number)


@functools.cache
def _runner() -> Any:
    run: Any = jit(parallel=True)(_run)
    run.compile((types.int64,) * 4)
    run.disable_compile()
    return run


@functools.cache
def _routine() -> Any:
    return c_function(layers.share_of, types.void(*(types.int64,) * 3))


def prepare() -> None:
    """Compile, or load, what every encoder needs."""
    _runner()
    _routine()
    dense.address()


def run_stages(frame: Array, routine: Any, shares: int, stages: int) -> None:
    """Call routine(frame's address, share, stage): all shares of a stage, then the next stage."""
    _runner()(address_of(frame), routine.address, shares, stages)


@dataclass(frozen=True)
class Dense:
    """A linear layer in float32: its weight (K, N) and its bias (N,)."""

    weight: Array
    bias: Array

    @property
    def nbytes(self) -> int:
        """The bytes of the packed weight."""
        (K, N), wide = self.weight.shape, tile_shape(np.float32).columns
        return int(4 * K * -(-N // wide) * wide)

    def panels(self) -> Array:
        """Return the packed weight, as bytes."""
        view = pack(self.weight).view
        flat = np.lib.stride_tricks.as_strided(view, (self.nbytes // 4,), (4,), writeable=False)
        return flat.view(np.uint8)

    def numbers(self, panels: Array, tables: Tables) -> list[int]:
        """Return it, its packed weight at `panels`, as compiled code takes it."""
        return [address_of(panels), *self.weight.shape, tables.hold(self.bias)]


@dataclass(frozen=True)
class Model:
    """What an encoder is made of, float32.

    words (vocabulary, H) and places (positions, H) are embeddings; norms are pairs of gain and
    shift, (H,) each: the embeddings' first, then two for each layer. weights are as many for each
    layer, `Dense` or `coded_encoder.CodedDense`: queries, keys and values side by side (H, 3H), of
    which only the queries' bias counts; the projection behind attention (H, H), whose bias must
    hold what the values' comes to; (H, F); and (F, H). Where they are coded, the second and the
    last may be several: parts of their depth.
    """

    words: Array
    places: Array
    norms: Sequence[tuple[Array, Array]]
    weights: Sequence[Any]
    layers: int
    heads: int
    inner: int
    activation: str
    eps: float

    @property
    def width(self) -> int:
        """H."""
        return int(self.words.shape[1])


def takes(width: int, inner: int, heads: int) -> bool:
    """Say whether layers of these sizes are made of whole vectors, as the compiled ones must be."""
    lanes = tile_shape(np.float32).lanes
    return width % lanes == 0 and inner % lanes == 0 and width % heads == 0


class Tables:
    """What compiled code reads by address, and which therefore must stay in memory."""

    def __init__(self) -> None:
        self._kept: list[Array] = []

    def hold(self, array: Array) -> int:
        """Keep an array, float32 or int64, and return its address."""
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        self._kept.append(np.ascontiguousarray(array, kind))
        return address_of(self._kept[-1])

    def keep(self, *arrays: Array) -> None:
        """Keep arrays in memory."""
        self._kept += arrays

    def weights(self, weights: Sequence[Any]) -> list[int]:
        """Return the numbers of all weights, packed into one piece of memory.

        NOTE: NumPy asks for large pages for arrays of 4 MB and more. In pages of 4 KiB, as single
        weights would lie, a pass over all of them meets ten thousand pages.
        """
        ends = np.cumsum([-(-weight.nbytes // 64) * 64 for weight in weights]).tolist()
        whole = aligned_empty(ends[-1], np.uint8)
        self._kept.append(whole)
        numbers = []
        for weight, start in zip(weights, [0, *ends], strict=False):
            place = whole[start : start + weight.nbytes]
            place[...] = weight.panels()
            numbers += weight.numbers(place, self)
        return numbers


@dataclass(frozen=True)
class _Plan:
    """How a batch of sequences is cut, known from their lengths.

    frame + moved * (where scratch of so many `bytes` begins) is a call's frame, but for its ids and
    its states; `kept` are the arrays that it names.
    """

    bytes: int
    shares: int
    stages: int
    frame: Array
    moved: Array
    kept: tuple[Array, ...]


class Encoder:
    """A model as compiled code takes it, in float32."""

    def __init__(self, model: Model) -> None:
        """Make the tables."""
        self._model = model
        self._planned = functools.lru_cache(_PLANS)(self._plan)
        self._tables = Tables()
        table = self._tables.weights(model.weights)
        norms = [self._tables.hold(part) for pair in model.norms for part in pair]
        H, F, A = model.width, model.inner, model.heads
        constants = np.zeros(_ZEROS_AT + 3 * max(H, F), np.float32)
        constants[:2] = model.eps, math.log2(math.e) / math.sqrt(H // A)
        score, (tile, pack, strip) = scores.address("float32"), routines.addresses("float32")
        self._tile = tile_shape(np.float32)
        self._block = max(1, _BLOCK // self._tile.rows) * self._tile.rows
        self._group = attention.TILES * self._tile.rows
        self._keys = -(-attention.BLOCK // self._tile.columns) * self._tile.columns
        self._about = {
            "layers": model.layers, "parts": len(model.weights) // model.layers,
            "H": H, "A": A, "F": F,
            "activation": ACTIVATIONS[model.activation],
            "eps": self._tables.hold(constants),
            "words": self._tables.hold(model.words), "places": self._tables.hold(model.places),
            "dense": self._tables.hold(np.array(table)),
            "norms": self._tables.hold(np.array(norms)),
            "block": self._block, "group": self._group, "key_block": self._keys,
            "score": score, "tile": tile, "pack": pack, "strip": strip,
            "multiply": self._multiply(),
        }  # fmt: skip

    def _multiply(self) -> int:
        return dense.address()

    def _routine(self) -> Any:
        return _routine()

    def states(self, ids: Array, lengths: Sequence[int]) -> Array:
        """Return the hidden states (T, H) of sequences one behind the other; ids are int64."""
        plan = self._planned(tuple(lengths), threads.get_num_threads())
        out = aligned_empty((len(ids), self._model.width), np.float32)
        frame = plan.frame + plan.moved * ROOM.address(plan.bytes)
        frame[_IDS], frame[_STATES] = address_of(ids), address_of(out)
        run_stages(frame, self._routine(), plan.shares, plan.stages)
        return out

    def _plan(self, lengths: tuple[int, ...], count: int) -> _Plan:
        """Return how sequences of these lengths are cut for `count` threads."""
        starts = np.concatenate([[0], np.cumsum(lengths)])
        T = int(starts[-1])
        positions = np.arange(T) - np.repeat(starts[:-1], lengths)
        bounds, mode = self._bounds(starts, count)
        shares = len(bounds) - 1
        shared, size = places_of(self._shared_sizes(T, mode))
        own, room = places_of(self._own_sizes(T, max(lengths), mode))
        numbers = {
            **self._about, **own, **shared,
            "positions": address_of(positions),
            "starts": address_of(starts), "sequences": len(lengths),
            "bounds": address_of(bounds),
            "mode": mode, "shares": shares, "rooms": size, "room_bytes": room,
        }  # fmt: skip
        moved = frame_of(layers.Frame, dict.fromkeys([*shared, "rooms"], 1))
        frame = frame_of(layers.Frame, numbers)
        kept = starts, positions, bounds
        return _Plan(size + shares * room, shares, self._stages(mode), frame, moved, kept)

    def _stages(self, mode: int) -> int:
        count = self._model.layers
        return {APART: 1, BY_ROWS: count + 1, BY_COLUMNS: STAGES * count + 1}[mode]

    def _shared_sizes(self, T: int, mode: int) -> dict[str, int]:
        """Return the floats that all shares have together."""
        H, F = self._model.width, self._model.inner
        sizes = {"mixed": T * H}
        if mode != APART:
            sizes["joined"] = (2 if mode == BY_ROWS else 1) * 3 * T * H
        if mode == BY_COLUMNS:
            sizes |= {"y": T * H, "inner": T * F}
        return sizes

    def _own_sizes(self, T: int, longest: int, mode: int) -> dict[str, int]:
        """Return the floats of the parts of a share's scratch."""
        H, rows = self._model.width, self._block
        return {
            "y_at": rows * H,
            "inner_at": rows * self._model.inner,
            "attention_at": self._attention_size(longest),
            "joined_at": 0 if mode == BY_ROWS else 3 * H * max(longest, rows),
        }

    def _attention_size(self, longest: int) -> int:
        d = self._model.width // self._model.heads
        return attention._room_size(d, d, longest, self._tile, self._group, self._keys)

    def _most_shares(self, count: int) -> int:
        """Return how many shares may have columns, of `count` threads."""
        return count

    def _bounds(self, starts: Array, shares: int) -> tuple[Array, int]:
        """Return where the shares' rows begin, for equal work, and how the work is cut."""
        H, F, T = self._model.width, self._model.inner, int(starts[-1])
        wide = self._most_shares(shares)
        if wide > 1 and min(self._block, _FEW) >= T:
            return np.zeros(wide + 1, np.int64), BY_COLUMNS
        shares = min(shares, T)
        lengths = np.diff(starts)
        # Multiply-adds of a row's products, and with each key, in units of 2H.
        work = np.concatenate([[0], np.cumsum(lengths * (2 * H + F + lengths))])
        wanted = work[-1] * np.arange(shares + 1) / shares
        near = np.abs(work[:, None] - wanted).argmin(axis=0)
        apart = np.diff(work[near])
        if apart.min() > 0 and apart.max() <= (1 + _UNEVEN) * wanted[1]:
            return starts[near].astype(np.int64), APART
        bounds = np.rint(np.interp(wanted, work, starts)).astype(np.int64)
        return bounds, BY_ROWS


def places_of(sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Return at which bytes parts of so many floats begin, each at a cache line, and the end."""
    places, end = {}, 0
    for name, size in sizes.items():
        places[name] = end
        end += -(-4 * size // 64) * 64
    return places, end


ROOM = Room()
_IDS, _STATES = (layers.Frame._fields.index(name) for name in ("ids", "states"))
