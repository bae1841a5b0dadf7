"""Two places at once, far apart, where a loop does little but read memory.

A CPU asks for a stream's next lines before it is told to, but only so many of each stream. A loop
that waits for memory runs as fast as the lines come, and more of them come of two places. Rows that
are only folded are taken in pairs, half of the rows apart, and so are the elements of a block whose
result goes past the caches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tinytorch.fuse.table import REDUCTIONS

if TYPE_CHECKING:
    from tinytorch.fuse.emit import NestWriter, Walk

_TOGETHER = 4  # vectors a row: said, so that both rows are summed in the same order
_INDENT = "    "


def assigned(lines: list[str]) -> frozenset[str]:
    """Return the names that some lines define."""
    text = "\n".join(lines)
    return frozenset(re.findall(r"^\s*(\w+) = ", text, re.M)) | frozenset(
        re.findall(r"^\s*for (\w+) in", text, re.M)
    )


def both(lines: list[str], mine: set[str]) -> list[str]:
    """Return lines for one place and for the other, where the names in `mine` end in `_far`."""

    def far(found: re.Match[str]) -> str:
        return f"{found[0]}_far" if found[0] in mine else found[0]

    return lines + [re.sub(r"\w+", far, line) for line in lines]


def in_pairs(writer: NestWriter, walked: Walk) -> bool:
    """Say whether a nest's rows are taken in pairs: there is one pass, which folds and is light."""
    nest, graph = writer.nest, writer.graph
    places = {s.target[1] for s in nest.stores if s.target[0] == "out"}
    return (
        writer.program.variant.vast
        and len(writer.rows) == len(writer.columns) == 1
        and bool(writer.columns[0])
        and nest.passes == 1
        and bool(nest.folds)
        and not (walked.heavy or nest.kept or places & set(writer.program.variant.alias))
        and not any(s.per_element for s in nest.stores)
        and not any(REDUCTIONS[graph.nodes[fold].op].argument for fold in nest.folds)
    )


def rows_loop(
    writer: NestWriter, before: list[str], body: list[str], after: list[str], own: frozenset[str]
) -> list[str]:
    """Return the loop over pairs of rows; `own` are the names that belong to one row.

    An odd number has its last row computed twice, alike.
    """
    row = writer.variable[writer.rows[0]]
    mine = {row, *own} - {writer.variable[writer.columns[0]]}
    columns = writer.columns_loop(
        [f"loops.interleave({_TOGETHER})", *both(body, mine)],
        "0",
        writer.extent(writer.columns[0]),
    )
    lines = [
        f"{row}_far = min({row} + half, last - 1)",
        *both(before, mine),
        *columns,
        *both(after, mine),
    ]
    return [
        "half = (last - first + 1) // 2",
        f"for {row} in range(first, first + half):",
        *(_INDENT + line for line in lines),
    ]
