"""The table of integers that a convolution's loops take: what stands where.

Sizes and strides count elements; addresses and room count bytes.
"""

from __future__ import annotations

# fmt: off
FIELDS = (
    # The images that patches are gathered from: where they are, their strides and shape.
    "SOURCE", "IMAGE", "CHANNEL", "ROW", "COLUMN", "BATCH", "CHANNELS", "HEIGHT", "WIDTH",
    # As they are laid out before (see `planes`): border, step, phases of the step that are met,
    # rows and columns of a plane, elements of an image, images that are laid out together; whether
    # the images are read where they lie instead, and how many elements they are then.
    "TOP", "LEFT", "STEP_Y", "STEP_X", "PHASES_Y", "PHASES_X", "PLANE_ROWS", "PLANE_COLUMNS",
    "PLANES", "GROUP", "IN_PLACE", "LIMIT",
    # The address of a table: from a pixel's place in the first plane to each element of its patch.
    "OFFSETS", "PATCH",
    # Pixels of the output, or of what stands for it: rows and columns of an image.
    "PIXEL_ROWS", "PIXEL_COLUMNS",
    # The other operand: its address, strides, and the address of a table of offsets (or 0).
    "OTHER", "OTHER_IMAGE", "OTHER_ROW", "OTHER_OFFSETS", "OUTPUTS",
    # What is added to each output (an address, or 0), and whether negative results become 0.
    "BIAS", "RELU",
    # The result: its address and strides.
    "OUT", "OUT_IMAGE", "OUT_CHANNEL", "OUT_ROW", "OUT_COLUMN",
    # Blocks: steps of the sum, panels of the result's columns, whether the other operand is packed
    # anew with each, whether patches are read where they lie; the grid of shares.
    "DEPTH", "PANELS", "PACKS_OFTEN", "DIRECT", "GRID_ROWS", "GRID_COLUMNS",
    # Parts of the batch whose results are added up in the end.
    "CHUNKS", "CHUNK_SIZE",
    # Room: its address, the bytes of one share, where in it packed operands and tables begin.
    "ROOM", "ROOM_SHARE", "ROOM_A", "ROOM_B", "ROOM_TILE", "ROOM_TABLE",
    # The addresses of compiled routines.
    "TILE", "PACK",
)
# fmt: on
PLACE = {name: i for i, name in enumerate(FIELDS)}
SIZE = len(FIELDS)
(
    SOURCE, IMAGE, CHANNEL, ROW, COLUMN, BATCH, CHANNELS, HEIGHT, WIDTH,
    TOP, LEFT, STEP_Y, STEP_X, PHASES_Y, PHASES_X, PLANE_ROWS, PLANE_COLUMNS,
    PLANES, GROUP, IN_PLACE, LIMIT, OFFSETS, PATCH, PIXEL_ROWS, PIXEL_COLUMNS,
    OTHER, OTHER_IMAGE, OTHER_ROW, OTHER_OFFSETS, OUTPUTS, BIAS, RELU,
    OUT, OUT_IMAGE, OUT_CHANNEL, OUT_ROW, OUT_COLUMN,
    DEPTH, PANELS, PACKS_OFTEN, DIRECT, GRID_ROWS, GRID_COLUMNS, CHUNKS, CHUNK_SIZE,
    ROOM, ROOM_SHARE, ROOM_A, ROOM_B, ROOM_TILE, ROOM_TABLE, TILE, PACK,
) = range(SIZE)  # fmt: skip
