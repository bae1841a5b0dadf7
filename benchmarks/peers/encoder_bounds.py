"""What an encoder can't be faster than: its products at the peak of multiply-adds, and attention.

The products are as many multiply-adds as those by weights, of registers (float32) or of the INT8
tile on operands in the first cache. Attention in float32 is our own, on as many tokens, for it is
so in either precision. Beside these nothing is done: no norm, GELU or rounding, and no weights are
read from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bert
import numpy as np

from peers import Absent, Run
from tinytorch.kernels.attending import attend_ragged
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.int8_peak import peak_call
from tinytorch.measure.microkernels import chain_shape, fma_chains
from tinytorch.native import threads

Params = Mapping[str, Any]


def _attention(params: Params, mask: Any) -> Callable[[], Any]:
    """Return a call of all layers' attention, queries, keys and values side by side."""
    starts = np.concatenate([[0], np.cumsum(bert.lengths_of(mask))])
    heads, wide = params["heads"], params["width"] // params["heads"]
    joined = aligned_empty((int(starts[-1]), 3, heads, wide), np.float32)
    joined[...] = np.random.default_rng(0).standard_normal(joined.shape, np.float32)
    q, k, v = joined.swapaxes(0, 1)
    out = aligned_empty(q.shape, np.float32)

    def call() -> Any:
        for _ in range(params["layers"]):
            attend_ragged(q, k, v, starts, out)
        return out

    return call


def _whole(params: Params, mask: Any, products: Callable[[], Any], done: int) -> Run:
    share = done / params["products"]
    if not 0.98 < share < 1.02:
        raise Absent(f"the peak's loop does {share:.2f} of these multiply-adds at least")
    attention = _attention(params, mask)

    def call() -> Any:
        products()
        return attention()

    return Run(call, note="products at the peak, and attention")


def in_int8(params: Params, ids: Any, mask: Any, variant: str) -> Run:
    """Return an encoder's multiply-adds at the INT8 peak, and its attention."""
    return _whole(params, mask, *peak_call(params["products"], threads.get_num_threads()))


def in_float32(params: Params, ids: Any, mask: Any, variant: str) -> Run:
    """Return an encoder's multiply-adds at the float32 peak, and its attention."""
    shape = chain_shape(threads.get_num_threads(), np.float32)
    start = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(np.float32)
    result, factor, term = np.empty_like(start), np.float32(0.999), np.float32(0.001)
    steps = round(params["products"] / start.size)

    def products() -> None:
        fma_chains(start, factor, term, result, steps)

    return _whole(params, mask, products, steps * start.size)
