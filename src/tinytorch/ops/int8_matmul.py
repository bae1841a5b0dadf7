"""int8_matmul: codes (M, K) @ codes (K, N), multiplied as int8 and summed exactly in int32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.ops import matmul
from tinytorch.ops.elementwise import roundings
from tinytorch.ops.spec import Array, Op, Shape


def codes(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw codes over the whole range of the type, both ends included."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


OP = Op(
    name="int8_matmul",
    signature="int8 (..., M, K) @ int8 (..., K, N) -> int32 (..., M, N)",
    reference=np.matmul,
    output_shape=matmul.OP.output_shape,
    flops=matmul.OP.flops,
    tolerance=roundings(0, "integers are exact; K < 2^31 / 2^14 = 131,072 can't overflow"),
    sizes=matmul.OP.sizes,
    ladder=matmul.OP.ladder,
    dtypes=("int8",),
    draw=codes,
    output_dtype="int32",
)
