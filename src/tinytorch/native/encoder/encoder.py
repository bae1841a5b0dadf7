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
from tinytorch.native.encoder.dense import SIZE, Coder
from tinytorch.native.encoder.frames import frame_of
from tinytorch.native.encoder.layers import APART, BY_COLUMNS, BY_ROWS, STAGES
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.prepacked import pack
from tinytorch.native.int8 import product as int8
from tinytorch.native.int8 import routines as int8_routines
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
    """A linear layer: its weight, (K, N) floats or packed codes, and its bias (N,).

    For codes, `inverse` (K,) is what activations are multiplied by before they become codes, and
    the bias is added with the product, unless it is to be kept apart.
    """

    weight: Array | int8.Packed
    bias: Array
    inverse: Array | None = None
    is_bias_apart: bool = False

    @property
    def nbytes(self) -> int:
        """The bytes of the packed weight."""
        if isinstance(self.weight, int8.Packed):
            return int(self.weight.whole_panels().nbytes)
        (K, N), wide = self.weight.shape, tile_shape(np.float32).columns
        return int(4 * K * -(-N // wide) * wide)

    def panels(self) -> Array:
        """Return the packed weight, as bytes."""
        if isinstance(self.weight, int8.Packed):
            return self.weight.whole_panels()
        view = pack(self.weight).view
        flat = np.lib.stride_tricks.as_strided(view, (self.nbytes // 4,), (4,), writeable=False)
        return flat.view(np.uint8)

    def numbers(self, panels: Array, tables: Tables) -> list[int]:
        """Return it, its packed weight at `panels`, as compiled code takes it."""
        weight, bias = self.weight, tables.hold(self.bias)
        K, N = weight.shape
        if not isinstance(weight, int8.Packed):
            return [0, address_of(panels), K, N, bias, *[0] * (SIZE - 5)]
        columns = weight.columns(None if self.is_bias_apart else self.bias)
        tables.keep(weight.ways, columns)
        inverse = 0 if self.inverse is None else tables.hold(self.inverse)
        steps = weight.dot.steps(K)
        rest = [address_of(weight.ways), address_of(columns), columns.strides[0], steps]
        return [
            1,
            address_of(panels),
            K,
            N,
            bias,
            *rest,
            weight.dot.padded(K),
            inverse,
            weight.dot.columns,
        ]


@dataclass(frozen=True)
class Model:
    """What an encoder is made of, float32.

    words (vocabulary, H) and places (positions, H) are embeddings; norms are pairs of gain and
    shift, (H,) each: the embeddings' first, then two for each layer. weights are four for each
    layer: queries, keys and values side by side (H, 3H), of which only the queries' bias counts,
    and is kept apart; the projection behind attention (H, H), whose bias must hold what the values'
    comes to; (H, F); and (F, H), or more of them, equal parts of that depth.
    """

    words: Array
    places: Array
    norms: Sequence[tuple[Array, Array]]
    weights: Sequence[Dense]
    layers: int
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
        return int(self.weights[2].weight.shape[1])


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

    def weights(self, weights: Sequence[Dense]) -> list[int]:
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


class Encoder:
    """A model as compiled code takes it."""

    def __init__(self, model: Model) -> None:
        """Make the tables."""
        self._model = model
        self._tables = Tables()
        table = self._tables.weights(model.weights)
        norms = [self._tables.hold(part) for pair in model.norms for part in pair]
        H, F, A = model.width, model.inner, model.heads
        constants = np.zeros(_ZEROS_AT + 3 * max(H, F), np.float32)
        constants[:2] = model.eps, math.log2(math.e) / math.sqrt(H // A)
        score, (tile, pack, strip) = scores.address("float32"), routines.addresses("float32")
        self._parts = len(model.weights) // model.layers - 3
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
            "multiply": dense.address(), "score": score, "tile": tile, "pack": pack, "strip": strip,
            **self._coding(),
        }  # fmt: skip

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
        sums_end = codes + 2 * numbers + -(-4 * dot.finished_rows * dot.columns // 64) * 64
        deepest = max(weight.shape[0] for weight in coded)
        self._code_room = sums_end + 4 * block * deepest + 64
        prepare, tile, finish = int8_routines.addresses(
            dot.name, dot.code_bytes, "float32", "float32"
        )
        places = codes, codes + numbers, codes + 2 * numbers, sums_end
        about = Coder(
            dot.rows,
            dot.columns,
            block,
            dot.code_bytes,
            dot.top,
            prepare,
            tile,
            finish,
            *places,
            dot.finished_rows,
        )
        return {"coder": self._tables.hold(np.array(about))}

    def states(self, ids: Array, lengths: Sequence[int]) -> Array:
        """Return the hidden states (T, H) of sequences one behind the other; ids are int64."""
        T, H = len(ids), self._model.width
        out = aligned_empty((T, H), np.float32)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(T) - np.repeat(starts[:-1], lengths)
        bounds, mode = self._bounds(starts, threads.get_num_threads())
        shares = len(bounds) - 1
        sizes = self._shared_sizes(T, mode)
        shared, size = places_of(sizes)
        own, room = places_of(self._own_sizes(int(max(lengths)), mode))
        start = ROOM.address(size + shares * room)
        call = {
            **self._about, **own, **{name: start + place for name, place in shared.items()},
            "ids": address_of(ids), "positions": address_of(positions),
            "starts": address_of(starts), "sequences": len(lengths),
            "bounds": address_of(bounds), "states": address_of(out),
            "mode": mode, "shares": shares, "rooms": start + size, "room_bytes": room,
        }  # fmt: skip
        count = self._about["layers"]
        stages = {APART: 1, BY_ROWS: count + 1, BY_COLUMNS: STAGES * count + 1}[mode]
        run_stages(frame_of(layers.Frame, call), _routine(), shares, stages)
        return out

    def _shared_sizes(self, T: int, mode: int) -> dict[str, int]:
        """Return the floats that all shares have together."""
        H, F = self._model.width, self._model.inner
        sizes = {"mixed": T * H}
        if mode != APART:
            sizes["joined"] = (2 if mode == BY_ROWS else 1) * 3 * T * H
        if mode == BY_COLUMNS:
            sizes |= {"y": self._parts * T * H, "inner": T * F}
        return sizes

    def _own_sizes(self, longest: int, mode: int) -> dict[str, int]:
        """Return the floats of the parts of a share's scratch."""
        H, d, rows = self._model.width, self._model.width // self._model.heads, self._block
        tile, group, keys = self._tile, self._group, self._keys
        return {
            "y_at": self._parts * rows * H,
            "inner_at": rows * self._model.inner,
            "attention_at": attention._room_size(d, d, longest, tile, group, keys),
            "codes_at": self._code_room // 4,
            "joined_at": 0 if mode == BY_ROWS else 3 * H * max(longest, rows),
        }

    def _bounds(self, starts: Array, shares: int) -> tuple[Array, int]:
        """Return where the shares' rows begin, for equal work, and how the work is cut."""
        H, F, T = self._model.width, self._model.inner, int(starts[-1])
        if shares > 1 and min(self._block, _FEW) >= T:
            return np.zeros(shares + 1, np.int64), BY_COLUMNS
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
