"""What the nests of one emitted file share: the memory it is written for, and its names."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinytorch.fuse.ir import DType, Graph
from tinytorch.fuse.schedule import Nest
from tinytorch.measure.caches import detect_caches, instances
from tinytorch.native import level, threads


@dataclass(frozen=True)
class Variant:
    """What a call's memory asks of the code, beyond the graph.

    inputs, outputs: the layout of each array, 'C', 'inner' (its last axis has no gaps) or
    'strided'. alias: for each input the result that is the same memory, or None. blocks: for each
    nest whether its rows are too few to share. vast: the arrays fill the last cache.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    alias: tuple[int | None, ...]
    blocks: tuple[bool, ...]
    vast: bool = False


@functools.cache
def vast_bytes() -> int | None:
    """Return how many bytes a call's arrays must have to be vast: what the last caches hold.

    None, never, where no cache's size can be read, and where 32-byte vectors are not to be had.
    """
    known = [c for c in detect_caches() if c.kind != "instruction"]
    if not known or level.isa() == "v128":
        return None
    last = max(known, key=lambda cache: cache.level)
    return last.size_bytes * instances(threads.usable_cpus(), last.shared_by)


def type_name(dtype: DType) -> str:
    """Return what emitted code calls a dtype."""
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def literal(value: float | int | bool, dtype: DType) -> str:
    """Return a number of a dtype as source."""
    if dtype.kind == "f" and not np.isfinite(value):
        text = "np.nan" if np.isnan(value) else ("np.inf" if value > 0 else "-np.inf")
    elif dtype.kind == "b":
        return str(bool(value))
    else:
        text = repr(float(value) if dtype.kind == "f" else int(value))
    return f"{type_name(dtype)}({text})"


class Program:
    """The names and arrays that all nests of one file share."""

    def __init__(
        self,
        graph: Graph,
        arrays: tuple[int, ...],
        nests: list[Nest],
        variant: Variant,
        names: tuple[str, ...],
    ) -> None:
        self.graph, self.nests, self.variant, self.names = graph, nests, variant, names
        self.places = {argument: k for k, argument in enumerate(arrays)}
        self.extents: dict[tuple[str, ...], str] = {}
        self.temps: dict[int, str] = {}
        self.scalars: dict[int, str] = {}  # folds to one number, known to the whole driver
        for nest in nests:
            for store in nest.stores:
                if store.target[0] == "temp":
                    place = store.target[1]
                    whole = all(axis is None for axis in nest.rows)
                    (self.scalars if whole else self.temps)[place] = (
                        f"{'r' if whole else 't'}{place}"
                    )
        self.arrays = [*names, *(f"out{i}" for i in range(len(graph.outputs)))]
        self.scopes = [*self.arrays, *self.temps.values()]
        self.scopes += [f"s{n}_{i}" for n, nest in enumerate(nests) for i in range(len(nest.kept))]

    def extent(self, dims: tuple[str, ...]) -> str:
        """Return the name of a product of sizes."""
        if not dims:
            return "1"
        return self.extents.setdefault(dims, f"n{len(self.extents)}")

    def layout(self, name: str) -> str:
        """Return an array's layout."""
        if name in self.names:
            return self.variant.inputs[self.names.index(name)]
        if name.startswith("out") and name in self.arrays:
            return self.variant.outputs[int(name.removeprefix("out"))]
        return "C"

    def input_name(self, argument: int) -> str:
        """Return the name of an input's array: the result's, where they are one."""
        place = self.places[argument]
        same = self.variant.alias[place]
        return self.names[place] if same is None else f"out{same}"
