"""Both steps fused: two reads, one write, and no temporary."""

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel


@fuse(rigid=True)
def squared_error_gradient(x, t, scale):
    return (x - t) * (2 * scale)


@kernel("squared_error_gradient", above="unfused", reuses_out=True, worthwhile_from=1 << 16)
def fused(x, t, out=None, scale=1.0):
    name = "squared_error_gradient"
    return fused_elements(name, squared_error_gradient, (x, t), out, (scale,), scale=scale)
