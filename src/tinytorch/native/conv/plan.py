"""Tables of numbers for the loops: how a convolution is laid out, cut into blocks, and shared.

N images, C channels, O outputs, H x W pixels, patches of kh x kw.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.conv import fields
from tinytorch.native.conv.panels import HEAD, RUN
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.plan import CacheBytes

Pair = tuple[int, int]
Table = NDArray[np.int64]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20
_DEEPEST = int(os.environ.get("CONV_DEPTH", 384))


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
    """One table, all but the addresses that differ from call to call, and the tables it names."""

    numbers: Table
    offsets: tuple[Table, ...]
    shares: int
    room_bytes: int

    def __post_init__(self) -> None:
        """Check nothing; the tables of offsets live as long as this."""


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


def cut(numbers: dict[str, int], dtype: str, caches: CacheBytes, threads: int) -> tuple[int, int]:
    """Add blocks, grid and room for a product over pixels; return the shares and bytes of room."""
    tile, item = tile_shape(dtype), 4 if dtype == "float32" else 8
    steps = numbers["PATCH"] + 1
    pixels = numbers["PIXEL_ROWS"] * numbers["PIXEL_COLUMNS"]
    images = numbers["BATCH"]
    group = max(1, min(images, caches.second // max(1, numbers["PLANES"] * item)))
    group = images if numbers["IN_PLACE"] else group
    depth = _evenly(steps, _DEEPEST * 4 // item)
    panels = max(1, caches.second // 2 // (depth * tile.columns * item))
    of_group = math.ceil(group * pixels / tile.columns)
    panels = _evenly(of_group, panels)
    rows = max(1, caches.second * 3 // 8 // (depth * item * tile.rows)) * tile.rows
    shares = threads
    if images * pixels * numbers["OUTPUTS"] * steps < WORTH_SHARING:
        shares = 1
    high = math.ceil(numbers["OUTPUTS"] / tile.rows)
    grid = _grid(high, math.ceil(images / group) * of_group, shares, (tile.rows, tile.columns))
    planes = 0 if numbers["IN_PLACE"] else group * numbers["PLANES"] + 4 * tile.columns
    starts = _aligned(
        planes * item,
        ((math.ceil(high / grid[0]) + 1) * tile.rows * steps + tile.lanes * tile.rows) * item,
        ((panels * depth + 2) * tile.columns) * item,
        tile.rows * tile.columns * item,
        panels * (HEAD + RUN * tile.columns) * 8,
    )
    numbers |= {"GROUP": group, "DEPTH": depth, "ROWS": rows, "PANELS": panels}
    numbers |= {"GRID_ROWS": grid[0], "GRID_COLUMNS": grid[1], "ROOM_SHARE": starts[-1] + 64}
    numbers |= dict(zip(("ROOM_A", "ROOM_B", "ROOM_TILE", "ROOM_TABLE"), starts[1:], strict=False))
    return shares, shares * (starts[-1] + 64)


def _address(array: Table) -> int:
    return int(array.__array_interface__["data"][0])


def _finished(numbers: dict[str, int], dtype: str) -> Table:
    tile, pack, _ = routines.addresses(dtype)
    numbers |= {"TILE": tile, "PACK": pack}
    return np.array([numbers.get(name, 0) for name in fields.FIELDS], np.int64)


def _laid_out(numbers: dict[str, int], rows: int, columns: int, phases: Pair) -> None:
    planes = numbers["CHANNELS"] * phases[0] * phases[1] * rows * columns
    numbers |= {"PHASES_Y": phases[0], "PHASES_X": phases[1], "PLANES": planes}
    numbers |= {"PLANE_ROWS": rows, "PLANE_COLUMNS": columns}


def patch_offsets(window: Window, plane: Pair, phases: Pair) -> Table:
    """Return, in the order (C, kh, kw), where a patch's elements lie from its pixel's place."""
    c, i, j = np.ogrid[: window.images[1], : window.kernel[0], : window.kernel[1]]
    (sh, sw), (rows, columns) = window.stride, plane
    phase = (i % sh) * phases[1] + j % sw
    of_channel = phases[0] * phases[1] * rows * columns
    table = c * of_channel + phase * rows * columns + (i // sh) * columns + j // sw
    return np.ascontiguousarray(table.reshape(-1), np.int64)


@functools.lru_cache(maxsize=1024)
def forward(
    window: Window, dtype: str, caches: CacheBytes, threads: int, relu: bool, dense: bool
) -> Task:
    """Return the table for a convolution; `dense` says that the images are C-contiguous."""
    n, c, h, w = window.images
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.pixels
    phases = (min(kh, sh), min(kw, sw))
    plane = (oh + (kh - 1) // sh, ow + (kw - 1) // sw)
    numbers = {"BATCH": n, "CHANNELS": c, "HEIGHT": h, "WIDTH": w, "OUTPUTS": window.outputs}
    numbers |= {"TOP": window.padding[0], "LEFT": window.padding[1], "STEP_Y": sh, "STEP_X": sw}
    _laid_out(numbers, *plane, phases)
    in_place = dense and window.padding == (0, 0) and window.kernel == window.stride == (1, 1)
    offsets = patch_offsets(window, plane, phases)
    flat = plane[1] == ow
    numbers |= {"PATCH": c * kh * kw, "OTHER_ROW": c * kh * kw, "RELU": int(relu)}
    numbers |= {"IN_PLACE": int(in_place), "LIMIT": n * c * h * w, "OFFSETS": _address(offsets)}
    numbers |= {"PIXEL_ROWS": 1 if flat else oh, "PIXEL_COLUMNS": oh * ow if flat else ow}
    numbers |= {"OUT_IMAGE": window.outputs * oh * ow, "OUT_CHANNEL": oh * ow}
    numbers |= {"OUT_ROW": ow, "OUT_COLUMN": 1}
    if flat:
        numbers["OUT_ROW"] = oh * ow
    shares, room = cut(numbers, dtype, caches, threads)
    return Task(_finished(numbers, dtype)[None], (offsets,), shares, room)
