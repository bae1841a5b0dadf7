"""The fixed choices: naive, blocked, numpy, native; and null, which computes nothing.

A preference is a list of rung names, best first; the first rung that an op has and that takes the
inputs is used. `native` ends with the library's names: where no compiled kernel takes an input (a
broadcast sum, say), NumPy does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.backends.base import ComputeBackend, rungs_by_preference
from tinytorch.kernels.registry import Kernel
from tinytorch.ops.spec import Array, Params
from tinytorch.ops.verify import expected_dtype

_LIBRARY = ("library", "inplace", "vectorised", "unfused")


class FixedBackend(ComputeBackend):
    """Always the first rung of its preference that takes the inputs."""

    def __init__(self, name: str, summary: str, preference: tuple[str, ...]) -> None:
        """Keep the rung names, best first."""
        super().__init__(name, summary)
        self._preference = preference

    def rungs(self, op: str) -> Iterable[Kernel]:
        """Return the op's rungs in order of preference."""
        return rungs_by_preference(op, self._preference)


class SizedBackend(FixedBackend):
    """As FixedBackend, but a rung is passed over on work too small for it to pay."""

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return the first preferred rung that takes the inputs and is worth its start-up."""
        work = max(array.size for array in arrays)
        for rung in self.rungs(op):
            if work >= rung.worthwhile_from and rung.refuses(arrays) is None:
                return rung
        return super().choose(op, arrays, params)


class NullBackend(ComputeBackend):
    """Returns uninitialised memory of the right shape: what is left is the machinery's cost."""

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return a kernel that only allocates."""
        described = ops.get(op)
        shapes = described.output_shapes(tuple(array.shape for array in arrays), params)
        dtype = expected_dtype(described, arrays)

        def null(*arrays: Array, out: Any = None, **params: Any) -> Any:
            if out is not None:
                return out
            made = tuple(np.empty(shape, dtype) for shape in shapes)
            return made if described.outputs > 1 else made[0]

        return Kernel(op=op, name="null", function=null, dtypes=None)


NAIVE = FixedBackend("naive", "plain Python loops: the definition of each op", ("naive",))
BLOCKED = FixedBackend(
    "blocked", "products in NumPy tiles, the rest vectorised", ("blocked", *_LIBRARY[::-1])
)
NUMPY = FixedBackend("numpy", "NumPy and its BLAS", _LIBRARY)
NATIVE = SizedBackend(
    "native",
    "our compiled kernels, in parallel where it pays",
    ("packed", "parallel", "tiled", "fused", "compiled", *_LIBRARY),
)
NULL = NullBackend("null", "computes nothing: measures the cost of dispatch")
