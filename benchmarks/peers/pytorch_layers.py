"""PyTorch's attention, convolutions, INT8 and sparse layers, eager."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from peers import Absent, Run

Params = Mapping[str, Any]
Tensor = Any


def attention(params: Params, q: Tensor, k: Tensor, v: Tensor) -> Run:
    """Return scaled_dot_product_attention, which has no out=."""
    sdpa = functional.scaled_dot_product_attention
    return Run(functools.partial(sdpa, q, k, v, is_causal=params["causal"]), preallocated=False)


def conv2d(params: Params, x: Tensor, w: Tensor, b: Tensor) -> Run:
    """Return conv2d, through oneDNN where PyTorch finds that best."""
    return Run(functools.partial(functional.conv2d, x, w, b, **params), preallocated=False)


def conv2d_backward(params: Params, dy: Tensor, x: Tensor, w: Tensor) -> Run:
    """Return both gradients in the call that autograd makes, without the bias's."""
    stride, padding = [params["stride"]] * 2, [params["padding"]] * 2
    backward = torch.ops.aten.convolution_backward
    rest = (None, stride, padding, [1, 1], False, [0, 0], 1, [True, True, False])
    return Run(lambda: backward(dy, x, w, *rest)[:2], preallocated=False)


def quantized_linear(params: Params, x: Tensor, w: Tensor, b: Tensor) -> Run:
    """Return linear_dynamic on weights packed beforehand, then GELU where asked.

    Weights are INT8 for each output channel; activations get one scale a call, in 7 bits, which is
    PyTorch's own default where the CPU's 8-bit products may saturate.
    """
    if not hasattr(torch.ops.quantized, "linear_dynamic"):
        raise Absent("this PyTorch has no quantized.linear_dynamic")
    rows = w.T.contiguous()
    scales = (rows.abs().amax(1) / 127).double()
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    codes = torch.quantize_per_channel(rows, scales, zeros, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(codes, b)
    product = functools.partial(torch.ops.quantized.linear_dynamic, x, packed, True)
    if params["activation"] != "gelu":
        return Run(product, False, torch.backends.quantized.engine)
    gelu = torch.ops.aten.gelu_
    return Run(lambda: gelu(product(), approximate="tanh"), False, torch.backends.quantized.engine)


def sparse(params: Params, w: Tensor, x: Tensor) -> Run:
    """Return a CSR matrix times a dense one."""
    rows = w.to_sparse_csr()
    return Run(lambda: rows @ x, preallocated=False)
