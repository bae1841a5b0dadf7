"""SciPy's sparse matrices: one thread, CSR or blocks, and an output of its own."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

from peers import Run

Params = Mapping[str, Any]


def start(threads: int) -> str:
    """Load SciPy; its sparse products run on one thread."""
    import scipy

    return str(scipy.__version__)


def sparse(params: Params, w: Any, x: Any) -> Run:
    """Return a sparse matrix times a dense one."""
    from scipy.sparse import bsr_array, csr_array

    blocks = params.get("block")
    packed = bsr_array(w, blocksize=tuple(blocks)) if blocks else csr_array(w)
    return Run(functools.partial(operator.matmul, packed, x), False, "one thread")


MAKERS = {"sparse": sparse}
