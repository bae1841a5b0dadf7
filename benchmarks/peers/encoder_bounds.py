"""What an encoder can't be faster than: its products at the peak of multiply-adds.

They are as many as those by weights: of registers (float32), or of the INT8 tile on operands in the
first cache. Beside these nothing is done: no attention, norm, GELU or rounding, and no weights are
read from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peers import Absent, Run
from tinytorch.measure.int8_peak import peak_call
from tinytorch.measure.microkernels import chain_shape, fma_chains
from tinytorch.native import threads

Params = Mapping[str, Any]


def _whole(params: Params, output: Any, products: Callable[[], Any], done: int) -> Run:
    share = done / params["products"]
    if not 0.98 < share < 1.02:
        raise Absent(f"the peak's loop does {share:.2f} of these multiply-adds at least")
    return Run(lambda: products() or output, note="products alone, at the peak")


def in_int8(params: Params, ids: Any, mask: Any, variant: str) -> Run:
    """Return an encoder's multiply-adds at the INT8 peak."""
    return _whole(params, ids, *peak_call(params["products"], threads.get_num_threads()))


def in_float32(params: Params, ids: Any, mask: Any, variant: str) -> Run:
    """Return an encoder's multiply-adds at the float32 peak."""
    shape = chain_shape(threads.get_num_threads(), np.float32)
    start = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(np.float32)
    result, factor, term = np.empty_like(start), np.float32(0.999), np.float32(0.001)
    steps = round(params["products"] / start.size)

    def products() -> None:
        fma_chains(start, factor, term, result, steps)

    return _whole(params, ids, products, steps * start.size)
