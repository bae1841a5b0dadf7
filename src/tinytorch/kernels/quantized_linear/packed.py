"""Codes packed for the CPU's own INT8 products; everything after the product done to each tile.

A quarter of float32's bytes for the weights, and 2 to 4 times its multiply-adds an instruction.
Rows become codes block by block, and a tile's sums are scaled, shifted by the bias and activated
before they leave the nearest cache, so nothing but the output is written. Here the weight is packed
in every call; `kernels.quantized.prepack` does it once for all of them.
"""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.quantized import prepack, quantized_linear
from tinytorch.kernels.registry import kernel


@kernel("quantized_linear", above="unfused", dtypes=("float32",), reuses_out=True)
def packed(x, w, b, out=None, activation="none"):
    result = destination("quantized_linear", (x, w, b), out, activation=activation)
    return quantized_linear(x, prepack(w), b, activation, result)
