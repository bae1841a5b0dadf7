"""masked_attention_and_logs: masked attention, and the logarithms that its gradient needs.

Two outputs, as attention_and_logs has; the mask is masked_attention's.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

from typing import Any

from tinytorch.ops import attention_and_logs, masked_attention
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _output_shape(
    shapes: Shapes, causal: bool = False, scale: float | None = None
) -> tuple[Shape, Shape]:
    shape = masked_attention.masked_shape("masked_attention_and_logs", shapes, scale)
    return shape, shape[:-1]


def _reference(*inputs: Array, causal: bool = False, scale: float | None = None) -> Any:
    q, k, v, mask = inputs
    keep = masked_attention.keep_of(q, k, mask, causal)
    return attention_and_logs.reference((q, k, v), keep, scale)


def _bound(outputs: Any, *inputs: Array, causal: bool = False, scale: float | None = None) -> Any:
    q, k, v, mask = inputs
    keep = masked_attention.keep_of(q, k, mask, causal)
    return attention_and_logs.bound(outputs[0], (q, k, v), keep, scale)


OP = Op(
    name="masked_attention_and_logs",
    signature=f"{masked_attention.OP.signature}, (..., Tq)",
    reference=_reference,
    output_shape=_output_shape,
    flops=masked_attention.OP.flops,
    draw_all=masked_attention.OP.draw_all,
    tolerance=Tolerance("as attention_and_logs', over what the mask keeps", _bound),
    sizes=masked_attention.OP.sizes,
    ladder=masked_attention.OP.ladder,
    variants=({}, {"causal": True}),
    outputs=2,
    indices=(3,),
)
