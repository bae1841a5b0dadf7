"""The acceleration functions under their historical names: thin calls into ops and ladders.

Every function takes ndarrays (or what NumPy makes one of) or Tensors. ndarrays in give ndarrays
out, any Tensor in gives Tensors out, and float32 stays float32. Bad shapes and values raise
ValueError.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.backends import ComputeBackend, get_backend, set_backend
from tinytorch.backends.auto import AUTO
from tinytorch.backends.builtin import NAIVE, NATIVE, NUMPY
from tinytorch.backends.ladders import LadderRow, run_ladder
from tinytorch.core.tensor import Tensor, accepts_tensors
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.kernels import patches, registry
from tinytorch.kernels.patches import Geometry, Pair
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.caches import detect_caches
from tinytorch.measure.roofline import practical_tile_size
from tinytorch.measure.units import figures, interval_text, ratio_text
from tinytorch.native import threads
from tinytorch.ops.spec import FLOATS, Array, Params

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


# Threads ------------------------------------------------------------------------------------------
_limit_lock = threading.Lock()
_limited = 0
_unlimited_threads = 1


@contextlib.contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Let kernels and BLAS use at most `count` threads inside.

    The count belongs to the whole process, so calls that overlap share the first one's limit, and
    the last one out restores what was before.
    """
    global _limited, _unlimited_threads
    with _limit_lock:
        if not _limited:
            _unlimited_threads = threads.get_num_threads()
            if count < _unlimited_threads:
                threads.set_num_threads(count)
        _limited += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limited -= 1
            if not _limited and threads.get_num_threads() != _unlimited_threads:
                threads.set_num_threads(_unlimited_threads)


def _workers(value: Any) -> int:
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
        raise InvalidValue(f"num_workers must be an int of at least 1, got {value!r}")
    return int(value)


@accepts_tensors
def parallel_relu(x: Any, num_workers: int = 4) -> Array:
    """Return max(x, 0) from at most `num_workers` threads, and no more than there are CPUs.

    Where threads can't pay (small arrays, strides, integers), one does the work.
    """
    with _at_most(_workers(num_workers)):
        return NATIVE.dispatch("relu", _numbers(x))


def parallel_batch_processing(
    batch_data: Any, operation: Callable[[Any], Any], num_workers: int = 4
) -> Any:
    """Return `operation` of each item, in order, computed by `num_workers` threads.

    An ndarray or a Tensor is taken apart along its first axis, and the results, which must have one
    shape, are stacked into one again; anything else that can be iterated over gives a list. The
    first exception, in the order of the items, is raised; what has not begun by then is not run.

    Threads run Python code one at a time: what gains is the time that items spend in NumPy, in
    compiled kernels or waiting. Kernels and BLAS share the CPUs among the workers meanwhile.
    """
    count = _workers(num_workers)
    if not callable(operation):
        raise InvalidValue(f"operation must be callable, got {type(operation).__name__}")
    whole = isinstance(batch_data, np.ndarray | Tensor)
    if whole and batch_data.ndim == 0:
        raise ShapeError("a batch needs a first axis, got a scalar: use x[None]")
    if not isinstance(batch_data, Iterable) and not whole:
        raise InvalidValue(f"a batch is an array or a list, got {type(batch_data).__name__}")
    items = [batch_data[i] for i in range(len(batch_data))] if whole else list(batch_data)
    results = _each(items, operation, min(count, len(items)))
    if not whole:
        return results
    stacked = _stacked(results) if results else np.asarray(getattr(batch_data, "data", []))
    return stacked


def _each(items: list[Any], operation: Callable[[Any], Any], workers: int) -> list[Any]:
    if workers < 2:
        return [operation(item) for item in items]
    # Several runs of items a worker: few enough to cost nothing, enough to even out their times.
    count = min(len(items), 4 * workers)
    cuts = [i * len(items) // count for i in range(count + 1)]
    runs = [items[first:last] for first, last in itertools.pairwise(cuts)]
    # NOTE: threads start with an empty context, without the caller's `use_backend` and `errstate`.
    contexts = [contextvars.copy_context() for _ in runs]

    def work(context: contextvars.Context, run: list[Any]) -> list[Any]:
        return context.run(lambda: [operation(item) for item in run])

    share = max(1, threads.get_num_threads() // workers)
    with _at_most(share), ThreadPoolExecutor(workers) as pool:
        return list(itertools.chain.from_iterable(pool.map(work, contexts, runs)))


def _stacked(results: list[Any]) -> Array:
    arrays = [np.asarray(r.data if isinstance(r, Tensor) else r) for r in results]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ShapeError(
            f"results of shapes {sorted(shapes)} can't be stacked: pass the batch as a list"
        )
    return np.stack(arrays)
