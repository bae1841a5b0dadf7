"""Tables of numbers for the loops: how a convolution is laid out, cut into blocks, and shared.

N images, C channels, O outputs, H x W pixels, patches of kh x kw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import address_of
from tinytorch.native.conv import fields
from tinytorch.native.conv.panels import HEAD, RUN
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.microkernel import Tile, tile_shape
from tinytorch.native.gemm.plan import CacheBytes

Pair = tuple[int, int]
Table = NDArray[np.int64]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20
_ITEM = {"float32": 4, "float64": 8}
# Where dW has fewer tiles than this, the batch is cut into as many chunks at most.
_FEW_TILES, _CHUNKS = 16, 16
# Steps of the sum in a block, in float32: a panel of 16 columns then takes 24 KiB.
_DEEPEST = 384


@dataclass(frozen=True)
class Window:
    """A convolution's numbers: images (N, C, H, W), outputs, kernel, stride, padding, pixels."""

    images: tuple[int, int, int, int]
    outputs: int
    kernel: Pair
    stride: Pair
    padding: Pair
    pixels: Pair


@dataclass(frozen=True)
class Task:
    """Tables, all but the addresses that differ from call to call; `kept` is what they name."""

    dtype: str
    routine: str
    numbers: Table
    kept: tuple[Table, ...]
    shares: int
    room_bytes: int
    chunks: int = 1


def _evenly(size: int, most: int) -> int:
    return math.ceil(size / math.ceil(size / most)) if size else 1


def _aligned(*sizes: int) -> list[int]:
    """Return where parts of these sizes begin, each on a cache line, and the end of the last."""
    starts = [0]
    for size in sizes:
        starts.append(-(-(starts[-1] + size) // 64) * 64)
    return starts


def _grid(rows: int, panels: int, shares: int, tile: tuple[int, int]) -> Pair:
    """Return into how many rows and columns of shares a result is cut, so that least is packed."""
    best, least = (1, 1), math.inf
    for across in range(1, shares + 1):
        if shares % across:
            continue
        down = shares // across
        high = math.ceil(rows / down) * tile[0]
        wide = math.ceil(panels / across) * tile[1]
        cost = high * wide + 5 * high + 4 * wide
        if cost < least:
            best, least = (down, across), cost
    return best


def _room(numbers: dict[str, int], sizes: tuple[int, ...]) -> int:
    """Add where the parts of a share's room begin; return its bytes."""
    *starts, end = _aligned(*sizes)
    numbers |= dict(zip(("ROOM_A", "ROOM_B", "ROOM_TILE", "ROOM_TABLE"), starts[1:], strict=True))
    numbers["ROOM_SHARE"] = end + 64
    return end + 64


def _planes_bytes(numbers: dict[str, int], group: int, tile: Tile, item: int) -> int:
    return 0 if numbers["IN_PLACE"] else (group * numbers["PLANES"] + 4 * tile.columns) * item


def _cut_pixels(
    numbers: dict[str, int], dtype: str, caches: CacheBytes, threads: int
) -> tuple[int, int]:
    """Add blocks, grid and room for a product over pixels; return the shares and bytes of each."""
    tile, item = tile_shape(dtype), _ITEM[dtype]
    steps, images, outputs = numbers["PATCH"] + 1, numbers["BATCH"], numbers["OUTPUTS"]
    pixels = numbers["PIXEL_ROWS"] * numbers["PIXEL_COLUMNS"]
    group = max(1, min(images, caches.second // max(1, numbers["PLANES"] * item)))
    group = images if numbers["IN_PLACE"] else group
    depth = _evenly(steps, _DEEPEST * 4 // item)
    of_group = math.ceil(group * pixels / tile.columns)
    panel = depth * tile.columns * item
    panels = _evenly(of_group, max(1, caches.second // 2 // panel))
    small = images * pixels * outputs * steps < WORTH_SHARING
    high = math.ceil(outputs / tile.rows)
    total = math.ceil(images / group) * of_group
    grid = _grid(high, total, 1 if small else threads, (tile.rows, tile.columns))
    packed = math.ceil(high / grid[0]) * tile.rows * steps * item
    direct = outputs <= tile.rows and not numbers["IN_PLACE"]
    packs_often = packed > caches.second // 4 and not direct
    numbers["DIRECT"] = int(direct)
    numbers |= {"GROUP": group, "DEPTH": depth, "PANELS": panels, "PACKS_OFTEN": int(packs_often)}
    numbers |= {"GRID_ROWS": grid[0], "GRID_COLUMNS": grid[1]}
    a_rows = 1 if packs_often else math.ceil(high / grid[0]) + 1
    a_size = tile.rows * (a_rows * (depth if packs_often else steps) + 2 * tile.lanes)
    sizes = (
        _planes_bytes(numbers, group, tile, item),
        a_size * item,
        (panels * depth + 2) * tile.columns * item,
        tile.rows * tile.columns * item,
        panels * (HEAD + RUN * tile.columns) * 8,
    )
    return grid[0] * grid[1], _room(numbers, sizes)


def _cut_weights(
    numbers: dict[str, int], dtype: str, caches: CacheBytes, threads: int
) -> tuple[int, int]:
    """Add blocks, grid, chunks and room for sums over pixels; return the shares and bytes of each.

    Blocks and chunks don't depend on the number of threads, so results don't either.
    """
    tile, item = tile_shape(dtype), _ITEM[dtype]
    images, patch, outputs = numbers["BATCH"], numbers["PATCH"], numbers["OUTPUTS"]
    pixels = numbers["PIXEL_ROWS"] * numbers["PIXEL_COLUMNS"]
    deepest = _DEEPEST * 4 // item
    group = max(1, min(images, deepest // pixels))
    depth = _evenly(group * pixels, deepest)
    high, wide = math.ceil(outputs / tile.rows), math.ceil(patch / tile.columns)
    chunks = max(1, min(images, _CHUNKS)) if high * wide < _FEW_TILES else 1
    small = images * pixels * outputs * patch < WORTH_SHARING
    grid = _grid(high, wide, 1 if small else threads, (tile.rows, tile.columns))
    share = math.ceil(wide / grid[1])
    panels = _evenly(share, max(1, caches.second // 2 // (depth * tile.columns * item)))
    numbers |= {"GROUP": group, "DEPTH": depth, "PANELS": panels, "CHUNKS": chunks}
    numbers |= {"GRID_ROWS": grid[0], "GRID_COLUMNS": grid[1], "CHUNK_SIZE": outputs * patch}
    sizes = (
        _planes_bytes(numbers, group, tile, item),
        ((high + 1) * tile.rows * depth + tile.lanes * tile.rows) * item,
        (panels * depth + tile.lanes + 1) * tile.columns * item,
        tile.rows * tile.columns * item,
        (HEAD + RUN * depth) * 8,
    )
    return grid[0] * grid[1], _room(numbers, sizes)


def _finished(numbers: dict[str, int], dtype: str) -> Table:
    tile, pack, _ = routines.addresses(dtype)
    numbers |= {"TILE": tile, "PACK": pack}
    return np.array([numbers.get(name, 0) for name in fields.FIELDS], np.int64)


def _laid_out(numbers: dict[str, int], rows: int, columns: int, phases: Pair) -> None:
    planes = numbers["CHANNELS"] * phases[0] * phases[1] * rows * columns
    numbers |= {"PHASES_Y": phases[0], "PHASES_X": phases[1], "PLANES": planes}
    numbers |= {"PLANE_ROWS": rows, "PLANE_COLUMNS": columns}


def _patch_offsets(window: Window, plane: Pair, phases: Pair, multiple: int) -> Table:
    """Return, in the order (C, kh, kw), where a patch's elements lie from its pixel's place.

    The last is repeated up to a multiple, so that a whole panel can be read.
    """
    c, i, j = np.ogrid[: window.images[1], : window.kernel[0], : window.kernel[1]]
    (sh, sw), (rows, columns) = window.stride, plane
    phase = (i % sh) * phases[1] + j % sw
    of_channel = phases[0] * phases[1] * rows * columns
    table = c * of_channel + phase * rows * columns + (i // sh) * columns + j // sw
    flat = table.reshape(-1)
    return np.pad(flat, (0, -flat.size % multiple), "edge" if flat.size else "constant")


def _over_images(window: Window, dtype: str, dense: bool) -> tuple[dict[str, int], Table]:
    """Return the numbers that say how patches lie in the images, and their table of offsets."""
    n, c, h, w = window.images
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.pixels
    phases = (min(kh, sh), min(kw, sw))
    plane = (oh + (kh - 1) // sh, ow + (kw - 1) // sw)
    tile = tile_shape(dtype)
    as_they_are = dense and window.padding == (0, 0) and window.stride == (1, 1)
    # A few outputs are multiplied straight from planes: these have room behind them, images none.
    in_place = as_they_are and (window.kernel == (1, 1) or window.outputs > tile.rows)
    offsets = _patch_offsets(window, plane, phases, tile.columns)
    numbers = {"BATCH": n, "CHANNELS": c, "HEIGHT": h, "WIDTH": w, "OUTPUTS": window.outputs}
    numbers |= {"TOP": window.padding[0], "LEFT": window.padding[1], "STEP_Y": sh, "STEP_X": sw}
    _laid_out(numbers, *plane, phases)
    numbers |= {"IN_PLACE": int(in_place), "LIMIT": n * c * h * w, "OFFSETS": address_of(offsets)}
    numbers |= {"PATCH": c * kh * kw, "PIXEL_ROWS": oh, "PIXEL_COLUMNS": ow}
    if plane[1] == ow:  # rows follow each other without a gap
        numbers |= {"PIXEL_ROWS": 1, "PIXEL_COLUMNS": oh * ow}
    return numbers, offsets


def forward(
    window: Window, dtype: str, caches: CacheBytes, threads: int, dense: bool, relu: bool
) -> Task:
    """Return the table for a convolution; `dense` says that the images are C-contiguous."""
    numbers, offsets = _over_images(window, dtype, dense)
    pixels = window.pixels[0] * window.pixels[1]
    numbers |= {"OTHER_ROW": numbers["PATCH"], "RELU": int(relu)}
    numbers |= {"OUT_IMAGE": window.outputs * pixels, "OUT_CHANNEL": pixels}
    numbers |= {"OUT_ROW": numbers["PIXEL_COLUMNS"], "OUT_COLUMN": 1}
    shares, room = _cut_pixels(numbers, dtype, caches, threads)
    tables = _finished(numbers, dtype)[None]
    return Task(dtype, "pixels", tables, (offsets,), shares, shares * room)


def weight_gradient(
    window: Window, dtype: str, caches: CacheBytes, threads: int, dense: bool
) -> Task:
    """Return the table for the gradient of a convolution's weights; `dense` as in `forward`."""
    numbers, offsets = _over_images(window, dtype, dense)
    pixels = window.pixels[0] * window.pixels[1]
    numbers |= {"OTHER_IMAGE": window.outputs * pixels, "OTHER_ROW": pixels}
    numbers |= {"OUT_CHANNEL": numbers["PATCH"]}
    shares, room = _cut_weights(numbers, dtype, caches, threads)
    chunks = numbers["CHUNKS"]
    tables = _finished(numbers, dtype)[None]
    return Task(dtype, "weights", tables, (offsets,), shares, shares * room, chunks)


@dataclass(frozen=True)
class _Remainder:
    """Along one axis, the pixels `first`, `first + stride`, …: what of the kernel meets them.

    `taps` are elements of the kernel, `shifts` the patch, from the pixel's own, that each belongs
    to; `count` pixels.
    """

    first: int
    count: int
    taps: tuple[int, ...]
    shifts: tuple[int, ...]

    @property
    def least(self) -> int:
        return min(self.shifts, default=0)

    @property
    def extent(self) -> int:
        """How many patches all pixels meet together."""
        return self.count + max(self.shifts, default=0) - self.least


def _remainders(size: int, kernel: int, stride: int, padding: int) -> list[_Remainder]:
    found = []
    for first in range(min(stride, size)):
        taps = tuple(range((first + padding) % stride, kernel, stride))
        shifts = tuple((first + padding - tap) // stride for tap in taps)
        found.append(_Remainder(first, -(-(size - first) // stride), taps, shifts))
    return found


def _one_remainder(
    window: Window, rows: _Remainder, columns: _Remainder, dense: bool
) -> tuple[dict[str, int], tuple[Table, Table]]:
    """Return the numbers for the images' pixels of one remainder each way, and their offsets."""
    n, c, h, w = window.images
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.pixels
    plane = (rows.extent, columns.extent)
    patch = window.outputs * len(rows.taps) * len(columns.taps)
    o = np.arange(window.outputs)[:, None, None]
    ty, tx = np.array(rows.taps, np.int64)[:, None], np.array(columns.taps, np.int64)
    sy, sx = np.array(rows.shifts, np.int64)[:, None], np.array(columns.shifts, np.int64)
    shifts = (sy - rows.least) * plane[1] + sx - columns.least
    met = o * plane[0] * plane[1] + shifts
    elements = o * c * kh * kw + ty * kw + tx
    tables = tuple(np.ascontiguousarray(t.reshape(-1), np.int64) for t in (met, elements))
    numbers = {"BATCH": n, "CHANNELS": window.outputs if patch else 0, "HEIGHT": oh, "WIDTH": ow}
    numbers |= {"TOP": -rows.least, "LEFT": -columns.least, "STEP_Y": 1, "STEP_X": 1}
    _laid_out(numbers, *plane, (1, 1))
    in_place = dense and plane == (oh, ow) and rows.least == columns.least == 0 and patch > 0
    numbers |= {"IN_PLACE": int(in_place), "LIMIT": n * window.outputs * oh * ow}
    numbers |= {"OFFSETS": address_of(tables[0]), "OTHER_OFFSETS": address_of(tables[1])}
    numbers |= {"PATCH": patch, "OUTPUTS": c, "OTHER_ROW": kh * kw}
    numbers |= {"OUT_IMAGE": c * h * w, "OUT_CHANNEL": h * w, "OUT_ROW": sh * w, "OUT_COLUMN": sw}
    numbers |= {"PIXEL_ROWS": rows.count, "PIXEL_COLUMNS": columns.count}
    if plane[1] == columns.count and sh * w == columns.count * sw:
        pixels = rows.count * columns.count
        numbers |= {"PIXEL_ROWS": 1, "PIXEL_COLUMNS": pixels, "OUT_ROW": pixels}
    return numbers, (tables[0], tables[1])


def input_gradient(
    window: Window, dtype: str, caches: CacheBytes, threads: int, dense: bool
) -> Task:
    """Return the tables for the gradient of a convolution's images, one for each remainder.

    OUT holds where the remainder's first pixel is, in bytes from the first of all. `dense` says
    that the output's gradient is C-contiguous.
    """
    axes = [
        _remainders(*numbers)
        for numbers in zip(
            window.images[2:], window.kernel, window.stride, window.padding, strict=True
        )
    ]
    tables: list[Table] = []
    kept: list[Table] = []
    shares, room = 1, 0
    for rows in axes[0]:
        for columns in axes[1]:
            numbers, offsets = _one_remainder(window, rows, columns, dense)
            numbers["OUT"] = (rows.first * window.images[3] + columns.first) * _ITEM[dtype]
            own, size = _cut_pixels(numbers, dtype, caches, threads)
            shares, room = max(shares, own), max(room, size)
            tables.append(_finished(numbers, dtype))
            kept.extend(offsets)
    stacked = np.array(tables)
    # NOTE: a thread may be a table ahead of another: their rooms must be apart in every table.
    stacked[:, fields.ROOM_SHARE] = room
    return Task(dtype, "pixels", stacked, tuple(kept), shares, shares * room)
