"""Codes in panels, multiplied by the CPU's own instruction for it, with the sums in registers.

The compiled loops load and store their sums for every product; here a tile of them stays in vector
registers over the whole depth, and one instruction multiplies 2 to 4 codes a lane and adds them up
(see native/int8/dots.py). Both operands are packed first, a pass over each: small sizes, and few
rows, pay for it.
"""

import numpy as np

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel
from tinytorch.native.int8 import dots, product


def _product(a, b, out):
    dot = dots.fastest_full()
    rows = a if a.strides[1] == 1 else np.ascontiguousarray(a)
    # NOTE: vpdpbusd takes unsigned activations: 128 is added to each, and taken off the sums.
    offset = 128 if dot.group == 4 else 0
    product.multiply(rows, product.pack(b, dot), out, product.How(1.0, float(offset), offset))


@kernel("int8_matmul", above="parallel", dtypes=("int8",), reuses_out=True, worthwhile_from=1 << 12)
def packed(a, b, out=None):
    return each_product("int8_matmul", _product, a, b, out)
