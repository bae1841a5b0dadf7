"""Panels of a patch matrix that is never stored: described by runs of pixels, packed from planes.

A panel is NR pixels of the output, counted through rows and images. Where they lie in one row, an
element of their patches is NR neighbours of a plane, copied by vectors; a panel that goes over the
end of a row is made of several runs, each written over the surplus of the run before.

A panel's description is a row of integers: how many runs, how many whole vectors may be written at
once (0 where results must be dealt out), then four for each run: its place in the planes, its first
lane, its place in the output, its length.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.fields import (
    IN_PLACE,
    LIMIT,
    OFFSETS,
    OUT_COLUMN,
    OUT_IMAGE,
    OUT_ROW,
    PATCH,
    PIXEL_COLUMNS,
    PIXEL_ROWS,
    PLANE_COLUMNS,
    PLANES,
)
from tinytorch.native.conv.places import copy_half, copy_quarter, copy_step, placed, transpose_step
from tinytorch.native.gemm.microkernel import LANES, NR
from tinytorch.native.pointers import at

# Integers of a description, for panels of NR pixels.
HEAD, RUN = 2, 4


@jit
def describe(n, kind, first, count, table):
    """Describe the panel of `count` pixels from the `first` of a group on."""
    rows, columns = n[PIXEL_ROWS], n[PIXEL_COLUMNS]
    pixels = rows * columns
    runs, lane = 0, 0
    while lane < count:
        j = first + lane
        image = j // pixels
        y = (j - image * pixels) // columns
        x = j - image * pixels - y * columns
        length = min(columns - x, count - lane)
        run = at(table, HEAD + runs * RUN)
        run[0] = image * n[PLANES] + y * n[PLANE_COLUMNS] + x
        run[1] = lane
        run[2] = image * n[OUT_IMAGE] + y * n[OUT_ROW] + x * n[OUT_COLUMN]
        run[3] = length
        lane += length
        runs += 1
    table[0] = runs
    lanes = LANES(kind[0])
    whole = count // lanes * lanes == count
    flat = n[OUT_COLUMN] == 1 and (n[OUT_ROW] == columns or runs == 1)
    one_image = first // pixels == (first + count - 1) // pixels
    table[1] = count // lanes if whole and flat and one_image else 0


@jit
def _pack_to_the_end(n, planes, k, depth, table, target):
    """Pack a panel one element at a time: where a vector would reach beyond the images."""
    wide = NR(target[0])
    offsets = placed(table, n[OFFSETS])
    for step in range(depth):
        start = at(planes, offsets[k + step])
        for r in range(table[0]):
            run = at(table, HEAD + r * RUN)
            for i in range(run[3]):
                target[step * wide + run[1] + i] = start[run[0] + i]
            for i in range(run[1] + run[3], wide):
                target[step * wide + i] = 0


@jit
def _pack_runs(offsets, planes, depth, table, target):
    wide, runs = NR(target[0]), table[0]
    for step in range(depth):
        start, row = at(planes, offsets[step]), at(target, step * wide)
        for r in range(runs):
            run = at(table, HEAD + r * RUN)
            copy_step(at(start, run[0]), at(row, run[1]))


@jit
def _begin(table, r):
    """Return where a run begins: its place in the planes, and its first lane."""
    run = at(table, HEAD + r * RUN)
    return run[0], run[1]


@jit
def _pack_four_runs(offsets, planes, depth, table, target, are_short):
    """Pack up to four runs, none longer than half a step, or than a quarter if they `are_short`.

    What is written for them seldom crosses a cache line, as whole steps do.
    """
    wide, last = NR(target[0]), table[0] - 1
    from_1, lane_1 = _begin(table, 0)
    from_2, lane_2 = _begin(table, min(1, last))
    from_3, lane_3 = _begin(table, min(2, last))
    from_4, lane_4 = _begin(table, last)
    for step in range(depth):
        start, row = at(planes, offsets[step]), at(target, step * wide)
        if are_short:
            copy_quarter(at(start, from_1), at(row, lane_1))
            copy_quarter(at(start, from_2), at(row, lane_2))
            copy_quarter(at(start, from_3), at(row, lane_3))
            copy_quarter(at(start, from_4), at(row, lane_4))
        else:
            copy_half(at(start, from_1), at(row, lane_1))
            copy_half(at(start, from_2), at(row, lane_2))
            copy_half(at(start, from_3), at(row, lane_3))
            copy_half(at(start, from_4), at(row, lane_4))


@jit
def _longest(table):
    longest = 0
    for r in range(table[0]):
        longest = max(longest, table[HEAD + r * RUN + 3])
    return longest


@jit
def _pack_run(offsets, planes, depth, target):
    wide = NR(target[0])
    for step in range(depth):
        copy_step(at(planes, offsets[step]), at(target, step * wide))


@jit
def pack_panel(n, planes, k, depth, table, target):
    """Pack `depth` steps from the k-th element of the patches on; a step behind the last is ones.

    Writes up to a step more than it says.
    """
    wide = NR(target[0])
    real = min(depth, n[PATCH] - k)
    offsets = at(placed(table, n[OFFSETS]), k)
    last, longest = at(table, HEAD + (table[0] - 1) * RUN), _longest(table)
    if n[IN_PLACE] != 0 and _furthest(offsets, real) + last[0] + wide > n[LIMIT]:
        _pack_to_the_end(n, planes, k, real, table, target)
    elif table[0] == 1:
        _pack_run(offsets, at(planes, last[0]), real, target)
    elif table[0] <= 4 and 2 * longest <= wide:
        _pack_four_runs(offsets, planes, real, table, target, 4 * longest <= wide)
    else:
        _pack_runs(offsets, planes, real, table, target)
    if depth > real:
        for i in range(wide):
            target[real * wide + i] = 1


@jit
def _furthest(offsets, count):
    furthest = 0
    for i in range(count):
        furthest = max(furthest, offsets[i])
    return furthest


@jit
def _transpose_to_the_end(offsets, planes, run, target):
    wide = NR(target[0])
    for k in range(run[3]):
        for i in range(wide):
            target[k * wide + i] = planes[offsets[i] + run[0] + k]


@jit
def pack_elements(n, planes, j, table, target):
    """Pack NR elements of the patches, from the j-th on, by all pixels of a description.

    Writes up to a vector of steps more than it says.
    """
    wide, lanes = NR(target[0]), LANES(target[0])
    offsets = at(placed(table, n[OFFSETS]), j)
    furthest = _furthest(offsets, wide)
    for r in range(table[0]):
        run = at(table, HEAD + r * RUN)
        source, into = at(planes, run[0]), at(target, run[1] * wide)
        if n[IN_PLACE] != 0 and furthest + run[0] + run[3] + lanes > n[LIMIT]:
            _transpose_to_the_end(offsets, planes, run, into)
        else:
            for k in range(0, run[3], lanes):
                transpose_step(at(source, k), offsets, at(into, k * wide))
