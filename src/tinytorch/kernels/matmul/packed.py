"""A micro-kernel in vector registers, with the operands packed into the order it reads them in.

A tile of C stays in registers while k runs over a block of the depth, so each loaded vector of B
serves a whole column of the tile (14 multiply-adds with AVX-512, where `tiled` has one). Packing
copies each operand once a block, transposing where it must, so strides don't matter and a panel
spans few pages. Small products are read in place, for packing costs as much as they do. The price
is the generated code: seconds to compile, once.
"""

from tinytorch.kernels.gemm import cache_bytes, into
from tinytorch.kernels.outputs import aligned_empty, destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.gemm.product import CANNOT, FITS, SMALL, multiply


@kernel("matmul", above="parallel", reuses_out=True)
def packed(a, b, out=None):
    # NOTE: a product of 16 x 16 takes 70 ns; each check or look-up in Python costs about that, so
    # what is small is checked in compiled code, and what that refuses is looked at again below.
    target = out
    if out is None and a.ndim == 2 == b.ndim:
        target = aligned_empty((a.shape[0], b.shape[1]), a.dtype)
    try:
        answer = SMALL[a.dtype.char](a, b, target)
    except KeyError:
        answer = CANNOT
    if answer == FITS:
        multiply(a, b, target, cache_bytes())
    if answer:
        return target
    return into(destination("matmul", (a, b), out), a, b)
