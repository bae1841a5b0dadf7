"""The acceleration functions under their historical names: thin calls into ops and ladders.

Every function takes ndarrays (or what NumPy makes one of) or Tensors. ndarrays in give ndarrays
out, any Tensor in gives Tensors out, and float32 stays float32. Bad shapes and values raise
ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.backends import ComputeBackend, get_backend, set_backend
from tinytorch.backends.auto import AUTO
from tinytorch.backends.builtin import NAIVE, NATIVE, NUMPY
from tinytorch.core.tensor import Tensor, accepts_tensors
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.kernels import codes, patches, registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.caches import detect_caches
from tinytorch.measure.roofline import practical_tile_size
from tinytorch.native import threads
from tinytorch.ops.spec import FLOATS, Array, Params, Shape
from tinytorch.ops.windows import Geometry, Pair
from tinytorch.perf.demonstration import final_performance_test
from tinytorch.perf.workers import at_most, checked_workers, run_each

__all__ = [
    "ComputeBackend",
    "OptimizedBackend",
    "blocked_matmul",
    "cache_friendly_matmul",
    "col2im",
    "educational_matmul",
    "final_performance_test",
    "fused_gelu",
    "get_backend",
    "im2col",
    "im2col_conv2d",
    "matmul",
    "matmul_baseline",
    "matmul_blocked",
    "matmul_naive",
    "matmul_numpy",
    "optimized_matmul",
    "parallel_batch_processing",
    "parallel_relu",
    "quantized_matmul",
    "quantized_relu",
    "run_complete_acceleration_demo",
    "set_backend",
    "tiled_matmul",
    "unfused_gelu",
    "vectorized_matmul",
    "vectorized_operations",
    "vectorized_relu",
]


def _numbers(value: Any) -> Array:
    """Return what was given as an ndarray of real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidValue(f"expected numbers in a regular shape: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidValue(f"expected an array of real numbers, got one of {array.dtype}")
    return array


def _floats(value: Any) -> Array:
    """Return a C-contiguous array of a dtype that compiled kernels take: float32 if none else."""
    array = _numbers(value)
    dtype = array.dtype.name if array.dtype.name in FLOATS else "float32"
    return np.asarray(array, dtype, order="C")


# Products -----------------------------------------------------------------------------------------
@accepts_tensors
def matmul(a: Any, b: Any) -> Array:
    """Return (..., M, K) @ (..., K, N) from the current backend."""
    return get_backend().dispatch("matmul", a, b)


optimized_matmul = matmul_numpy = matmul


@accepts_tensors
def matmul_naive(a: Any, b: Any) -> Array:
    """Return the product by three nested loops in plain Python."""
    return NAIVE.dispatch("matmul", a, b)


educational_matmul = matmul_naive


@accepts_tensors
def vectorized_matmul(a: Any, b: Any) -> Array:
    """Return the product from the BLAS library, batch axes broadcast."""
    return NUMPY.dispatch("matmul", a, b)


def matmul_baseline(A: Any, B: Any) -> Any:
    """Return the framework's own product, `Tensor @ Tensor`."""
    plain = not (isinstance(A, Tensor) or isinstance(B, Tensor))
    a, b = (x if isinstance(x, Tensor) else Tensor(x, dtype=_numbers(x).dtype) for x in (A, B))
    product = a @ b
    return product.data if plain else product


@accepts_tensors
def tiled_matmul(a: Any, b: Any, tile_size: int | str = 64) -> Array:
    """Return the product, computed in square tiles over rows, columns and depth.

    With `"auto"`, three tiles fit the second-level cache together (64 where its size is unknown).
    """
    a, b = _numbers(a), _numbers(b)
    if isinstance(tile_size, str):
        if tile_size != "auto":
            raise InvalidValue(f"tile_size must be an int or 'auto', got {tile_size!r}")
        tile_size = _tile_for_cache(np.result_type(a, b).itemsize)
    product: Array = registry.get("matmul", "blocked")(a, b, tile=tile_size)
    return product


def _tile_for_cache(itemsize: int) -> int:
    sizes = [c.size_bytes for c in detect_caches() if c.level == 2 and c.kind != "instruction"]
    return practical_tile_size(sizes[0], itemsize) if sizes else 64


def blocked_matmul(a: Any, b: Any, block_size: int = 64) -> Any:
    """Return the product in blocks; see `tiled_matmul`."""
    return tiled_matmul(a, b, block_size)


matmul_blocked = blocked_matmul


def cache_friendly_matmul(A: Any, B: Any, block_size: int = 32) -> Any:
    """Return the product in blocks; see `tiled_matmul`."""
    return tiled_matmul(A, B, block_size)


# Elementwise --------------------------------------------------------------------------------------
@accepts_tensors
def fused_gelu(x: Any) -> Array:
    """Return GELU, tanh form, in one compiled pass that allocates its output and nothing else.

    What is not a C-contiguous float32 or float64 array is copied into one first.
    """
    return NATIVE.dispatch("gelu", _floats(x))


@accepts_tensors
def unfused_gelu(x: Any) -> Array:
    """Return GELU, tanh form, one NumPy operation a step, with seven temporaries."""
    result: Array = registry.get("gelu", "unfused")(_floats(x))
    return result


@accepts_tensors
def vectorized_relu(x: Any) -> Array:
    """Return max(x, 0) from one NumPy operation, in x's dtype."""
    return NUMPY.dispatch("relu", _numbers(x))


@accepts_tensors
def vectorized_operations(x: Any, y: Any) -> dict[str, Any]:
    """Return five results of NumPy operations by name, three of them by a short name as well.

    `element_wise_multiply`, `element_wise_add`, `squared_difference` are broadcast;
    `euclidean_distance` and `dot_product` are scalars over all elements, taken in C order, so both
    inputs must have as many. Raises ShapeError otherwise.
    """
    x, y = _numbers(x), _numbers(y)
    if x.size != y.size:
        raise ShapeError(
            f"the distance and the dot product pair all elements, and shapes {x.shape} and "
            f"{y.shape} have {x.size} and {y.size}: broadcast or cut one of them first"
        )
    product = NUMPY.dispatch("multiply", x, y)
    total = NUMPY.dispatch("add", x, y)
    squares = NUMPY.dispatch("squared_difference", x, y)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    common = np.result_type(x, y)
    as_floats = [_floats(flat.astype(common, copy=False)) for flat in (flat_x, flat_y)]
    return {
        "element_wise_multiply": product,
        "element_wise_add": total,
        "squared_difference": squares,
        "euclidean_distance": NUMPY.dispatch("euclidean_distance", *as_floats)[()],
        "dot_product": NUMPY.dispatch("dot", flat_x, flat_y)[()],
        "multiply": product,
        "add": total,
        "squared_diff": squares,
    }


# Convolution --------------------------------------------------------------------------------------
@accepts_tensors
def im2col(x: Any, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> Array:
    """Return the patches of images (N, C, H, W) as rows, (N oh ow, C kh kw), each C-major."""
    return patches.im2col(_numbers(x), kernel_size, stride, padding)


@accepts_tensors
def col2im(
    cols: Any, x_shape: Shape, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0
) -> Array:
    """Add rows of patches up into images of `x_shape`: the exact adjoint of `im2col`."""
    return patches.col2im(_numbers(cols), x_shape, kernel_size, stride, padding)


@accepts_tensors
def im2col_conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0
) -> Array:
    """Return the convolution (cross-correlation) of images, as the current backend computes it.

    x (N, C, H, W), weight (O, C, kh, kw), bias (O,): the result is (N, O, oh, ow) in the dtype of
    x and weight together.
    """
    x, weight = _numbers(x), _numbers(weight)
    if weight.ndim != 4:
        raise ShapeError(
            f"a convolution's weight must be 4D, (out, in, height, width), got {weight.shape}"
        )
    if x.dtype.name in FLOATS and x.dtype == weight.dtype:
        zeros = np.zeros(weight.shape[0], x.dtype)
        added = zeros if bias is None else _numbers(bias).astype(x.dtype, copy=False)
        return get_backend().dispatch(
            "conv2d", x, weight, added, stride=_key(stride), padding=_key(padding)
        )
    geometry = Geometry.of(x.shape, weight.shape[2:], stride, padding)
    outputs, inputs = weight.shape[:2]
    if x.shape[1] != inputs:
        raise ShapeError(
            f"an input of {x.shape[1]} channels does not match a weight for {inputs} channels: "
            f"shapes {x.shape} and {weight.shape}"
        )
    flat = weight.reshape(outputs, geometry.patch)
    product = get_backend().dispatch("matmul", flat, patches.columns(x, geometry))
    result = product.reshape(x.shape[0], outputs, *geometry.output)
    return result if bias is None else _biased(result, _numbers(bias))


def _key(value: Pair) -> Any:
    """Return what may be a key of a table of choices: a list is none."""
    return tuple(value) if isinstance(value, list) else value


def _biased(result: Array, bias: Array) -> Array:
    if bias.shape != result.shape[1:2]:
        raise ShapeError(
            f"a bias of shape {bias.shape} does not match {result.shape[1]} output channels"
        )
    if result.dtype.kind != "f":
        result = result.astype(np.result_type(result, bias))
    result += bias[:, None, None]  # in place: a float64 bias leaves float32 as it is
    return result


# Threads ------------------------------------------------------------------------------------------
# Elements. To change the number of threads takes half a millisecond: too long for less.
_LIMIT_PAYS_FROM = 1 << 22


@accepts_tensors
def parallel_relu(x: Any, num_workers: int = 4) -> Array:
    """Return max(x, 0) from at most `num_workers` threads, and no more than there are CPUs.

    Where threads can't pay (small arrays, strides, integers), one does the work.
    """
    workers, x = checked_workers(num_workers), _numbers(x)
    if workers >= threads.get_num_threads() > 1:
        return NATIVE.dispatch("relu", x)
    if workers == 1 or x.size < _LIMIT_PAYS_FROM:
        return NUMPY.dispatch("relu", x)
    with at_most(workers):
        return NATIVE.dispatch("relu", x)


def parallel_batch_processing(
    batch_data: Any, operation: Callable[[Any], Any], num_workers: int = 4
) -> Any:
    """Return `operation` of each item, in order, computed by `num_workers` threads.

    An ndarray or a Tensor is taken apart along its first axis, and the results, which must have one
    shape, are stacked into one again; anything else that can be iterated over gives a list. The
    first exception, in the order of the items, is raised.

    Threads run Python code one at a time: what gains is the time that items spend in NumPy, in
    compiled kernels or waiting. Kernels and BLAS share the CPUs among the workers meanwhile.
    """
    workers = checked_workers(num_workers)
    if not callable(operation):
        raise InvalidValue(f"operation must be callable, got a {type(operation).__name__}")
    if isinstance(batch_data, np.ndarray | Tensor):
        if batch_data.ndim == 0:
            raise ShapeError("a batch needs a first axis, got a scalar: use x[None]")
        items = [batch_data[i] for i in range(len(batch_data))]
        results = run_each(operation, items, workers)
        return _stacked(results, as_tensor=isinstance(batch_data, Tensor)) if items else batch_data
    if not isinstance(batch_data, Iterable):
        raise InvalidValue(f"a batch is an array or a list, got a {type(batch_data).__name__}")
    return run_each(operation, list(batch_data), workers)


def _stacked(results: list[Any], as_tensor: bool) -> Array | Tensor:
    arrays = [np.asarray(r.data if isinstance(r, Tensor) else r) for r in results]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ShapeError(
            f"results of shapes {sorted(shapes)} can't be stacked: pass the batch as a list"
        )
    stacked = np.stack(arrays)
    return Tensor(stacked, dtype=stacked.dtype) if as_tensor else stacked


# Codes --------------------------------------------------------------------------------------------
@accepts_tensors
def quantized_matmul(A: Any, B: Any, scale_A: float = 1.0, scale_B: float = 1.0) -> Array:
    """Return A @ B in float32, multiplied as int8 codes and summed exactly in int32.

    Arrays of an integer dtype are codes; arrays of floats are values, and become the codes
    rint(value / scale). Codes saturate at -128 and 127. The result is the sum times both scales.
    """
    step_a = codes.checked_scale(scale_A, "scale_A")
    step_b = codes.checked_scale(scale_B, "scale_B")
    a, b = codes.codes_of(_numbers(A), step_a, "A"), codes.codes_of(_numbers(B), step_b, "B")
    if a.ndim and a.shape[-1] > codes.LARGEST_DEPTH:
        raise InvalidValue(
            f"the inner dimension {a.shape[-1]} may overflow int32 sums: cut the product into "
            f"parts of at most {codes.LARGEST_DEPTH} and add them up"
        )
    return codes.values_of(get_backend().dispatch("int8_matmul", a, b), step_a * step_b)


@accepts_tensors
def quantized_relu(x: Any, scale: float = 1.0) -> Array:
    """Return max(code, 0) * scale in float32; codes as in `quantized_matmul`."""
    step = codes.checked_scale(scale, "scale")
    positive = NUMPY.dispatch("relu", codes.codes_of(_numbers(x), step, "x"))
    return codes.values_of(positive, step)


# Backends and ladders -----------------------------------------------------------------------------
class OptimizedBackend(ComputeBackend):
    """The `auto` backend as a class of its own: the measured best kernel for each call."""

    def __init__(self) -> None:
        """There is nothing to choose."""
        super().__init__("optimized", "the measured best for each shape, as auto")

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return the kernel that `auto` would run."""
        return AUTO.choose(op, arrays, params)

    @accepts_tensors
    def dispatch(self, op: str, *arrays: Any, out: Array | None = None, **params: Any) -> Array:
        """Compute any op by name; raises UnknownName with the nearest for one that is not known."""
        if not isinstance(op, str):
            raise UnknownName("op", op, ops.names())
        return AUTO.dispatch(op, *arrays, out=out, **params)

    def matmul(self, a: Any, b: Any) -> Any:
        """Return the product."""
        return self.dispatch("matmul", a, b)


# The same, by the name that other versions gave it.
run_complete_acceleration_demo = final_performance_test
