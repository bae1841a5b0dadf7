"""TinyTorch itself: the kernel that the `native` backend prefers for the inputs, called directly.

Variants: `copy` and `copy past caches` move a program's bytes and compute nothing, `in cache`
computes and moves nothing beyond the first cache; `float32` is the float32 layer that an INT8 one
is held against; `dense` the layer that a sparse one is.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from peers import Absent, Run
from tinytorch import __version__, backends, ops
from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.native import threads as pool
from tinytorch.ops.verify import expected_dtype

Params = Mapping[str, Any]


def start(threads: int) -> str:
    """Set the number of threads."""
    pool.prepare()
    pool.set_num_threads(threads)
    return __version__


def of_op(op: str, params: Params, *arrays: Any) -> Run:
    """Return a call of the native backend's kernel of an op, into an output of its own."""
    described = ops.get(op)
    kernel = backends.get("native").choose(op, arrays, params)
    shape = described.output_shape(tuple(a.shape for a in arrays), **params)
    out = aligned_empty(shape, expected_dtype(described, arrays))
    call = functools.partial(kernel.function, *arrays, out=out, **params)
    return Run(call, note=f"rung {kernel.name}")


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs, fused, and in place where that is how it is used."""
    from programs import PROGRAMS

    described = PROGRAMS[params["program"]]
    fused = fuse(described.function)
    if described.updates:
        own = list(arrays)
        for i in described.updates:
            own[i] = aligned_empty(arrays[i].shape, arrays[i].dtype)
            own[i][...] = arrays[i]
        state = tuple(own[i] for i in described.updates)
        return Run(functools.partial(fused, *own, out=state), note="updates in place")
    made = fused(*arrays)
    several = isinstance(made, tuple)
    results = tuple(np.asarray(m) for m in (made if several else (made,)))
    return Run(functools.partial(fused, *arrays, out=results if several else results[0]))


def conv2d_backward(params: Params, dy: Any, x: Any, w: Any) -> Run:
    """Return both gradients, one after the other, each into an output of its own."""
    sizes = {"input_size": x.shape[2:]}, {"kernel_size": w.shape[2:]}
    images = of_op("conv2d_input_gradient", {**params, **sizes[0]}, dy, w)
    weights = of_op("conv2d_weight_gradient", {**params, **sizes[1]}, x, dy)
    return Run(lambda: (images.call(), weights.call()), note=f"{images.note}, {weights.note}")


def quantized_linear(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return the INT8 layer on a weight packed beforehand."""
    from tinytorch.kernels import quantized

    packed = quantized.prepack(w)
    out = aligned_empty((x.shape[0], w.shape[1]), np.float32)
    call = functools.partial(quantized.quantized_linear, x, packed, b, params["activation"], out)
    return Run(call, note="packed weight")


def float32(params: Params, *arrays: Any, variant: str) -> Run:
    """Return the float32 layer that an INT8 one is held against."""
    return of_op("linear", params, *arrays)


def sparse(params: Params, w: Any, x: Any) -> Run:
    """Return the sparse layer on rows of activations: x.T by the weight, made sparse beforehand."""
    from tinytorch.kernels.sparse import blocks, sparse_linear

    block = tuple(params.get("block", (1, 1)))
    weight, rows = blocks(w.T, block), np.ascontiguousarray(x.T)
    out = aligned_empty((len(rows), len(w)), np.float32)
    return Run(functools.partial(sparse_linear, rows, weight, None, out))


def dense(params: Params, w: Any, x: Any, variant: str) -> Run:
    """Return the dense layer that a sparse one is held against, zeros and all."""
    bias = np.zeros(len(w), np.float32)
    return of_op("linear", {}, np.ascontiguousarray(x.T), np.ascontiguousarray(w.T), bias)


def int8_peak(params: Params, x: Any, w: Any, b: Any, variant: str) -> Run:
    """Return as many INT8 multiply-adds as the layer has, of a tile in the first cache."""
    return _at_the_peak(x.shape[0] * w.size, b)


def _at_the_peak(multiply_adds: int, output: Any) -> Run:
    from tinytorch.measure.int8_peak import peak_call

    call, done = peak_call(multiply_adds, pool.get_num_threads())
    share = done / multiply_adds
    if not 0.98 < share < 1.02:
        raise Absent(f"the peak's loop does {share:.2f} of these multiply-adds at least")
    return Run(lambda: call() or output)


def _other(module: str, name: str) -> Any:
    """Return a maker from a module of its own, imported when it is needed."""

    def make(params: Params, *arrays: Any, **keywords: Any) -> Run:
        maker = getattr(importlib.import_module(f"peers.{module}"), name)
        return maker(params, *arrays, **keywords)  # type: ignore[no-any-return]

    return make


def training(params: Params, *arrays: Any) -> Run:
    """Return a training step of one of the models."""
    from training import RECIPES, begun

    from peers import ours_training

    backends.set_backend(RECIPES[params["recipe"]].backend)  # this process trains, and nothing else
    step, losses, note = begun(ours_training.trainer, params["recipe"], arrays)
    return Run(step, preallocated=False, note=note, check=lambda: losses)


MAKERS = {name: functools.partial(of_op, name) for name in ops.names()}
MAKERS |= {
    "program": program,
    "program copy": _other("ours_bounds", "copy"),
    "program copy past caches": _other("ours_bounds", "copy_past_caches"),
    "program in cache": _other("ours_bounds", "in_cache"),
    "quantized_linear float32": float32,
    "quantized_linear peak": int8_peak,
    "sparse": sparse,
    "sparse dense": dense,
    "conv2d_backward": conv2d_backward,
    "quantized_linear": quantized_linear,
    "encoder": _other("ours_models", "encoder"),
    "encoder float32": _other("ours_models", "encoder"),
    "encoder peak": _other("encoder_bounds", "in_int8"),
    "encoder float32 peak": _other("encoder_bounds", "in_float32"),
    "generation": _other("ours_models", "generation"),
    "training": training,
}
