"""Three nested loops in plain Python over codes: the definition, exact."""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.matmul.naive import product
from tinytorch.kernels.registry import kernel


@kernel("int8_matmul", dtypes=("int8",), interpreted=True)
def naive(a, b, out=None):
    return each_product("int8_matmul", product, a, b, out)
