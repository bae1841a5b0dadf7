"""masked_attention_gradient: attention_gradient, under the mask that masked_attention had.

Takes q, k, v, the output and the logs of masked_attention_and_logs, dout, and the mask; returns dq,
dk and dv. What is hidden has no weight, so that nothing reaches it.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.ops import attention_gradient, masked_attention
from tinytorch.ops.attention import scale_for
from tinytorch.ops.masked_attention import checked_mask, keep_of
from tinytorch.ops.spec import Array, Op, Shapes, Tolerance


def _output_shape(shapes: Shapes, causal: bool = False, scale: float | None = None) -> Shapes:
    scale_for(1, scale)
    *six, mask = shapes
    q, k, v = attention_gradient.output_shapes("masked_attention_gradient", tuple(six))
    checked_mask("masked_attention_gradient", mask, q[:-2], q[-2], k[-2])
    return q, k, v


def _flops(shapes: Shapes, causal: bool = False, scale: float | None = None) -> int:
    # NOTE: as if the mask hid nothing, for it is not in the shapes.
    return attention_gradient.OP.flops(shapes[:6], causal=causal)


def _reference(*inputs: Array, causal: bool = False, scale: float | None = None) -> Any:
    *six, mask = inputs
    return attention_gradient.reference(
        tuple(six), keep_of(inputs[0], inputs[1], mask, causal), scale
    )


def _bound(gradients: Any, *inputs: Array, causal: bool = False, scale: float | None = None) -> Any:
    *six, mask = inputs
    keep = keep_of(inputs[0], inputs[1], mask, causal)
    return attention_gradient.bound(gradients, tuple(six), keep, scale)


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    mask = rng.integers(-1, 2, shapes[6])
    return (*attention_gradient.drawn(rng, shapes[:6], dtype, mask != 0), mask)


OP = Op(
    name="masked_attention_gradient",
    signature=attention_gradient.OP.signature.replace(" ->", ", (..., Tq, Tk) ->"),
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    draw_all=_draw_all,
    tolerance=Tolerance("as attention_gradient's, over what the mask keeps", _bound),
    sizes=tuple(
        attention_gradient.whole(size)
        for size in masked_attention.OP.sizes
        if size.name != "shared-keys"
    ),
    ladder=tuple(attention_gradient.whole(size) for size in masked_attention.OP.ladder),
    variants=({}, {"causal": True}),
    outputs=3,
    indices=(6,),
)
