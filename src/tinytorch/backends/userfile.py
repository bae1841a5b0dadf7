"""A learner's kernel file as a backend of its own: verified first, `numpy` for everything else."""

from __future__ import annotations

from pathlib import Path

from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.builtin import NUMPY
from tinytorch.errors import VerificationError
from tinytorch.kernels import conformance, registry
from tinytorch.kernels.registry import Kernel


class UserBackend(ComputeBackend):
    """The kernels of one file, in the order in which the file defines them; else NumPy's."""

    def __init__(self, name: str, kernels: tuple[Kernel, ...]) -> None:
        """Keep kernels that have been verified."""
        super().__init__(name, f"{', '.join(k.name for k in kernels)}; else numpy")
        self.kernels = kernels

    def rungs(self, op: str) -> tuple[Kernel, ...]:
        """Return the file's kernels of an op, then NumPy's."""
        own = tuple(kernel for kernel in self.kernels if kernel.op == op)
        return (*own, *NUMPY.rungs(op))


def verified(kernel: Kernel) -> Kernel:
    """Return the kernel, or raise VerificationError with the first case that it gets wrong."""
    ran = 0
    for case in conformance.run(kernel):
        if not case.check.ok:
            raise VerificationError(
                f"{kernel.source.name}: {case}. It is not used; `tito doctor "
                f"{kernel.source.name}` shows every case"
            )
        ran += case.refused is None
    if not ran:
        raise VerificationError(
            f"{kernel.source.name}: {kernel.op}/{kernel.name} takes none of the op's suite, so "
            "nothing was checked"
        )
    return kernel


def load(path: str) -> UserBackend:
    """Load a Python file that defines kernels, verify each, and return the backend.

    Raises InvalidValue for a file that can't be read as one, VerificationError for a wrong kernel.
    """
    file = Path(path).expanduser().resolve()
    return UserBackend(file.stem, tuple(verified(k) for k in registry.load_file(file)))
