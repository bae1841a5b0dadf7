"""auto: the measured best kernel for the op, dtype, layout and shape bucket of each call.

Until `tito tune` has measured a bucket, a fixed order decides; nothing is measured on a user's
first call unless TINYTORCH_TUNE=1 asks for it.
"""

from __future__ import annotations

import warnings

from tinytorch import config, ops
from tinytorch.backends.builtin import SizedBackend
from tinytorch.backends.tuning import Entry, Table, key_for
from tinytorch.errors import MeasurementError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.ops.spec import Array, Params

UNTUNED_ORDER = (
    "library",
    "packed",
    "parallel",
    "tiled",
    "fused",
    "inplace",
    "compiled",
    "vectorised",
    "unfused",
    "naive",
)


def tunable(op: str, arrays: tuple[Array, ...]) -> bool:
    """Say whether the op's description covers these types, so that results can be judged."""
    return all(array.dtype.name in ops.get(op).dtypes for array in arrays)


class AutoBackend(SizedBackend):
    """Looks a call up in the tuning table, and falls back on the fixed order."""

    def __init__(self, table: Table | None = None) -> None:
        """Use the user's own tuning table unless another is given."""
        super().__init__("auto", "the measured best for each shape", UNTUNED_ORDER)
        self._table = table

    @property
    def table(self) -> Table:
        """The tuning table in use."""
        if self._table is None:
            self._table = Table()
        return self._table

    def default(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return what is used where nothing was tuned."""
        return super().choose(op, arrays, params)

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return the tuned kernel for the call's bucket, or the default."""
        entry = self._entry(op, arrays, params)
        if entry is not None and entry.kernel in registry.rung_names(op):
            tuned = registry.get(op, entry.kernel)
            if tuned.refuses(arrays) is None:
                return tuned
        return self.default(op, arrays, params)

    def _entry(self, op: str, arrays: tuple[Array, ...], params: Params) -> Entry | None:
        tune = config.get("TINYTORCH_TUNE") and tunable(op, arrays)
        if not tune and not self.table.may_have_entries():
            return None
        entry = self.table.get(key_for(op, arrays, params))
        if entry is not None or not tune:
            return entry
        from tinytorch.backends import tuner

        try:
            return tuner.tune_call(self, op, arrays, params)
        except MeasurementError as error:
            warnings.warn(f"not tuned: {error}", RuntimeWarning, stacklevel=4)
            return None


AUTO = AutoBackend()
