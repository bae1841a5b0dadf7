"""An encoder in INT8 from Python: weights in codes as tables, and how scratch is cut."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import address_of
from tinytorch.native.encoder import coded, coded_layers
from tinytorch.native.encoder.coded import SIZE, Coded, Coder
from tinytorch.native.encoder.encoder import Encoder, Model, Tables
from tinytorch.native.encoder.layers import BY_COLUMNS, BY_ROWS
from tinytorch.native.int8 import dots, routines
from tinytorch.native.int8 import product as int8
from tinytorch.native.level import lanes

Array = NDArray[Any]

# Rows of a block, at most: weights come from the third cache once a block. On a Zen 3, 24, 32, 44,
# 64 and 128 rows reach 0.55, 0.57, 0.57, 0.59 and 0.60 of the products' peak at 8 x 128 tokens.
_BLOCK = 128


@dataclass(frozen=True)
class CodedDense:
    """A linear layer's weight in codes, (K, N), and its bias (N,).

    inverse (K,) is what its rows are multiplied by before they become codes, where it is not done;
    even (N,) what its columns are, if they become codes.
    """

    weight: int8.Packed
    bias: Array
    inverse: Array | None = None
    even: Array | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of the packed weight."""
        return self.weight.whole_nbytes

    def panels(self) -> Array:
        """Return the packed weight, as bytes."""
        return self.weight.whole_panels()

    def numbers(self, panels: Array, tables: Tables) -> list[int]:
        """Return it, its packed weight at `panels`, as compiled code takes it."""
        w, columns = self.weight, self.weight.columns(self.bias)
        K, N = w.shape
        tables.keep(w.ways, columns)
        about = Coded(
            panels=address_of(panels),
            kinds=address_of(w.ways),
            columns=address_of(columns),
            column_count=columns.shape[1],
            steps=w.dot.steps(K),
            N=N,
            K=K,
            row_bytes=w.dot.padded(K) * w.dot.code_bytes,
            bias=tables.hold(self.bias),
            inverse=0 if self.inverse is None else tables.hold(self.inverse),
            even=0 if self.even is None else tables.hold(self.even),
        )
        assert len(about) == SIZE
        return list(about)


def parts_for(depth: int, groups: int) -> int:
    """Return how many parts, up to 4, an activation is coded in: whole panels of the columns that
    it comes from, and whole `groups`, such as heads.
    """
    columns = dots.fastest().columns
    fits = (n for n in (4, 2) if depth % (n * columns) == 0 and groups % n == 0)
    return next(fits, 1)


@functools.cache
def _routine() -> Any:
    return coded_layers.routine()


class CodedEncoder(Encoder):
    """A model in INT8 as compiled code takes it."""

    def __init__(self, model: Model, projections: int) -> None:
        """Make the tables; `projections`: the parts of the projection behind attention."""
        self._dot = model.weights[0].weight.dot
        self._lanes = lanes(np.float32)
        self._projections = projections
        super().__init__(model)
        self._narrows = self._about["parts"] - 2 - projections
        high = self._dot.rows
        self._block = -(-_BLOCK // high) * high
        self._about |= {
            "block": self._block,
            "project_parts": projections,
            "coder": self._tables.hold(np.array(self._coder())),
        }

    def _coder(self) -> Coder:
        dot = self._dot
        return Coder(
            rows=dot.rows,
            columns=dot.columns,
            finished=dot.finished_rows,
            tile=routines.tile_address(dot.name),
            code_bytes=dot.code_bytes,
            top=dot.top,
            lanes=self._lanes,
        )

    def _multiply(self) -> int:
        return coded.address()

    def _routine(self) -> Any:
        return _routine()

    def _stages(self, mode: int) -> int:
        return 2 * self._model.layers + 1 if mode == BY_COLUMNS else super()._stages(mode)

    def _most_shares(self, count: int) -> int:
        parts = self._projections if self._projections == self._narrows else 1
        if self._model.width % self._dot.columns:
            return 1
        return max(n for n in range(1, min(count, parts) + 1) if parts % n == 0)

    def _code_floats(self, rows: int, depth: int) -> int:
        """Return the floats that rows of codes take, with those of the last tile."""
        high, dot = self._dot.rows, self._dot
        return int(-(-rows // high) * high * dot.padded(depth) * dot.code_bytes) // 4 + 16

    def _shared_sizes(self, T: int, mode: int) -> dict[str, int]:
        H = self._model.width
        sizes = {"mixed": T * H}
        if mode == BY_COLUMNS:
            return sizes | {"y": self._projections * T * H, "inner": self._narrows * T * H}
        if mode == BY_ROWS:
            sizes["joined"] = 6 * T * H
        return sizes | {"codes": self._code_floats(T, H), "scales": T, "zeros": T}

    def _own_sizes(self, T: int, longest: int, mode: int) -> dict[str, int]:
        H, F, rows = self._model.width, self._model.inner, self._block
        deepest = max(H // self._projections, F // self._narrows)
        sizes = {
            "inner_at": rows * (F // self._narrows),
            "attention_at": self._attention_size(longest),
            "joined_at": 0 if mode == BY_ROWS else 3 * H * max(longest, rows),
            "codes_at": self._code_floats(rows, deepest),
            "numbers_at": 2 * rows,
            "scratch_at": H + 2 * self._lanes,
            "marks_at": 2 * rows * self._lanes,
            "sums_at": self._dot.finished_rows * self._dot.columns,
        }
        if mode == BY_COLUMNS:
            sizes |= {
                "own_at": T * H,
                "own_codes_at": self._code_floats(T, H),
                "own_numbers_at": 2 * T,
            }
        return sizes
