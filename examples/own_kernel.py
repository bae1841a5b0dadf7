"""The product as a sum of outer products: one column of A times one row of B for each step of K.

A kernel file of your own. From the repository:

    tito doctor examples/own_kernel.py
    tito bench matmul --kernels examples/own_kernel.py,library --sizes 64
    python examples/own_kernel.py

K operations on whole matrices take the place of M*N*K steps in Python. Each reads and writes all of
C once more, so memory traffic is what it costs.
"""

from __future__ import annotations

import numpy as np

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write a @ b into `out`, for one pair of matrices."""
    out[...] = 0
    for k in range(a.shape[1]):
        out += np.multiply.outer(a[:, k], b[k])


@kernel("matmul")
def outer_products(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return a @ b; `each_product` takes care of batch axes, and of `out`."""
    return each_product("matmul", product, a, b, out)


def main() -> None:
    """Use this very file as the backend of a program."""
    from tinytorch import Tensor, set_backend

    backend = set_backend(__file__)  # every case of the op's suite is checked first
    x, w = Tensor(np.eye(3)), Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    print((x @ w).tolist())
    print(f"computed by {backend.choose('matmul', (x.data, w.data), {}).name}")


if __name__ == "__main__":
    main()
