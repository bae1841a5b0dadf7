"""What the convolution's compiled rungs share: a plan a shape, made once, and where they write."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.kernels.gemm import cache_bytes
from tinytorch.kernels.outputs import aligned_empty, destination
from tinytorch.native.conv import plan, product
from tinytorch.native.conv.plan import Task, Window
from tinytorch.native.threads import get_num_threads
from tinytorch.ops import conv2d, conv2d_input_gradient, conv2d_weight_gradient
from tinytorch.ops.spec import Array, Params, Shape
from tinytorch.ops.windows import Geometry


def _window(geometry: Geometry, outputs: int) -> Window:
    return Window(
        geometry.images,
        outputs,
        geometry.kernel,
        geometry.stride,
        geometry.padding,
        geometry.output,
    )


def _forward(x: Shape, w: Shape, how: Params) -> Window:
    return _window(conv2d.geometry(x, w, how["stride"], how["padding"]), w[0])


def _input_gradient(dy: Shape, w: Shape, how: Params) -> Window:
    return _window(conv2d_input_gradient.geometry(dy, w, **how), w[0])


def _weight_gradient(x: Shape, dy: Shape, how: Params) -> Window:
    return _window(conv2d_weight_gradient.geometry(x, dy, **how), dy[1])


_WINDOWS: dict[str, Callable[[Shape, Shape, Params], Window]] = {
    "conv2d": _forward,
    "conv2d_input_gradient": _input_gradient,
    "conv2d_weight_gradient": _weight_gradient,
}
_TASKS: dict[str, Callable[..., Task]] = {
    "conv2d": plan.forward,
    "conv2d_input_gradient": plan.input_gradient,
    "conv2d_weight_gradient": plan.weight_gradient,
}


@functools.lru_cache(maxsize=1024)
def _planned(
    op: str,
    shapes: tuple[Shape, ...],
    params: tuple[tuple[str, Any], ...],
    char: str,
    dense: bool,
    threads: int,
) -> tuple[Shape, Task | None]:
    """Return the output's shape and a plan for it, None where there is nothing to do."""
    how = dict(params)
    shape = ops.get(op).output_shape(shapes, **how)
    if 0 in shape:
        return shape, None
    window = _WINDOWS[op](shapes[0], shapes[1], how)
    options = {"relu": how["activation"] == "relu"} if op == "conv2d" else {}
    dtype = np.dtype(char).name
    return shape, _TASKS[op](window, dtype, cache_bytes(), threads, dense, **options)


def _by_elements(array: Array) -> Array:
    """Return the array, copied where its strides are not whole elements."""
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if whole else np.ascontiguousarray(array)


def _dense(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _checked(op: str, arrays: tuple[Array, ...], out: Array, shape: Shape, how: Params) -> Array:
    """Return `out`, or have `destination` say what is wrong with it."""
    fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype is arrays[0].dtype
    return out if fits and out.flags.writeable else destination(op, arrays, out, **how)


def run(op: str, arrays: tuple[Array, ...], out: Array | None, **params: Any) -> Array:
    """Compute conv2d or a gradient of it: images, the other operand, and perhaps a bias."""
    source, other = arrays[0], arrays[1]
    how = tuple([(k, tuple(v) if isinstance(v, list) else v) for k, v in params.items()])
    shapes = tuple([array.shape for array in arrays])
    dense = source.flags.c_contiguous
    shape, task = _planned(op, shapes, how, source.dtype.char, dense, get_num_threads())
    apart = False
    if out is None:
        result = aligned_empty(shape, source.dtype)
    else:
        result = _checked(op, arrays, out, shape, params)
        apart = not out.flags.c_contiguous or any(np.may_share_memory(out, a) for a in arrays)
    if task is None:
        return result
    if not other.size and op == "conv2d_weight_gradient":
        result[...] = 0
        return result
    target = aligned_empty(shape, source.dtype) if apart else result
    images = source if dense else _by_elements(source)
    product.run(task, images, _dense(other), target, *map(_dense, arrays[2:]))
    if apart:
        result[...] = target
    return result
