"""masked_attention: attention of which a mask says what each query sees.

The mask broadcasts to (..., Tq, Tk); it holds integers, 0 hides and anything else keeps. With
`causal`, a query sees what both let it see. Everything else is as in attention.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops import attention
from tinytorch.ops.attention import output_shape, scale_for
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def checked_mask(name: str, mask: Shape, batch: Shape, Tq: int, Tk: int) -> None:
    """Raise ShapeError unless the mask broadcasts to (*batch, Tq, Tk)."""
    wanted = (*batch, Tq, Tk)
    try:
        fits = np.broadcast_shapes(mask, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{name}'s mask must broadcast to {wanted}, a value for each query and key; got {mask}"
        )


def masked_shape(name: str, shapes: Shapes, scale: float | None) -> Shape:
    """Return attention's shape for q, k, v and a mask; raises where they, or the scale, don't fit.

    Raises ShapeError or InvalidValue.
    """
    q, k, v, mask = shapes
    scale_for(1, scale)
    shape = output_shape(name, (q, k, v))
    checked_mask(name, mask, shape[:-2], q[-2], k[-2])
    return shape


def _output_shape(shapes: Shapes, causal: bool = False, scale: float | None = None) -> Shape:
    return masked_shape("masked_attention", shapes, scale)


def _flops(shapes: Shapes, causal: bool = False, scale: float | None = None) -> int:
    # NOTE: as if the mask hid nothing, for it is not in the shapes.
    return attention.OP.flops(shapes[:3], causal=causal)


def keep_of(q: Array, k: Array, mask: Array, causal: bool) -> Array:
    """Return which keys each query sees, as booleans."""
    return np.asarray(attention.keep_of(q, k, causal) & (mask != 0))


def _reference(
    q: Array, k: Array, v: Array, mask: Array, causal: bool = False, scale: float | None = None
) -> Array:
    return np.asarray(np.matmul(attention.weights(q, k, keep_of(q, k, mask, causal), scale)[1], v))


def _bound(reference: Array, q: Array, k: Array, v: Array, mask: Array, **params: Any) -> Array:
    keep = keep_of(q, k, mask, params.get("causal", False))
    return attention.bound(reference, q, k, v, keep, params.get("scale"))


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    arrays = (attention.draw(rng, shape, dtype) for shape in shapes[:3])
    return (*arrays, rng.integers(-1, 2, shapes[3]))


def _masked(sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    """Give each size a mask of its own for each query, head and sequence."""
    return tuple(
        Size(size.name, (*size.shapes, (*size.shapes[0][:-1], size.shapes[1][-2])))
        for size in sizes
    )


def _causal_ladder() -> tuple[Size, ...]:
    return tuple(
        Size(size.name, (*size.shapes, (size.shapes[0][-2], size.shapes[1][-2])))
        for size in attention.ladder_sizes()
    )


OP = Op(
    name="masked_attention",
    signature="(..., Tq, d), (..., Tk, d), (..., Tk, e), (..., Tq, Tk) -> (..., Tq, e)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    draw_all=_draw_all,
    tolerance=Tolerance("as attention's, over what the mask keeps", _bound),
    sizes=(
        *_masked(attention.SIZES),
        Size("padding", ((2, 3, 5, 4), (2, 3, 21, 4), (2, 3, 21, 6), (2, 1, 1, 21))),
        Size("one-mask", ((2, 19, 4), (2, 9, 4), (2, 9, 6), (19, 9))),
    ),
    ladder=_causal_ladder(),
    variants=({}, {"causal": True}),
    indices=(3,),
)
