"""Convolutions of ResNet and LeNet, forward and backward."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from case import Bar, Case, Group, Judge, judge_op, op_case

from tinytorch import ops
from tinytorch.ops.spec import Array, Shape

_GRADIENTS = ("conv2d_input_gradient", "conv2d_weight_gradient")


@dataclass(frozen=True)
class _Layer:
    """A convolution: N images of C channels, H high and wide; F filters of k by k."""

    name: str
    N: int
    C: int
    H: int
    F: int
    k: int
    stride: int = 1
    padding: int = 0
    quick: bool = False

    @property
    def x(self) -> Shape:
        return (self.N, self.C, self.H, self.H)

    @property
    def w(self) -> Shape:
        return (self.F, self.C, self.k, self.k)

    @property
    def y(self) -> Shape:
        n = (self.H + 2 * self.padding - self.k) // self.stride + 1
        return (self.N, self.F, n, n)

    @property
    def params(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}


_LAYERS = (
    _Layer("stem 7x7 s2 3-64 @224", 1, 3, 224, 64, 7, 2, 3),
    _Layer("3x3 64 @56", 1, 64, 56, 64, 3, 1, 1, quick=True),
    _Layer("3x3 128 @28", 1, 128, 28, 128, 3, 1, 1),
    _Layer("3x3 256 @14", 1, 256, 14, 256, 3, 1, 1),
    _Layer("3x3 512 @7", 1, 512, 7, 512, 3, 1, 1),
    _Layer("3x3 s2 64-128 @56", 1, 64, 56, 128, 3, 2, 1),
    _Layer("1x1 64-256 @56", 1, 64, 56, 256, 1),
    _Layer("1x1 256-64 @56", 1, 256, 56, 64, 1),
    _Layer("3x3 64 @56 batch 8", 8, 64, 56, 64, 3, 1, 1),
    _Layer("3x3 256 @14 batch 8", 8, 256, 14, 256, 3, 1, 1),
    _Layer("LeNet 5x5 1-6 @28 batch 64", 64, 1, 28, 6, 5, quick=True),
    _Layer("LeNet 5x5 6-16 @12 batch 64", 64, 6, 12, 16, 5),
)


def _forward(layer: _Layer) -> Case:
    shapes = (layer.x, layer.w, (layer.F,))
    return op_case(f"conv {layer.name}", "conv2d", shapes, quick=layer.quick, **layer.params)


def _backward_judge(layer: _Layer) -> Any:
    size = {"input_size": (layer.H, layer.H), **layer.params}
    kernel = {"kernel_size": (layer.k, layer.k), **layer.params}

    def of_inputs(inputs: tuple[Any, ...]) -> Judge:
        """Judge dX and dW, each as the op that it is."""
        dy, x, w = inputs
        both = (
            judge_op(_GRADIENTS[0], size, (dy, w)),
            judge_op(_GRADIENTS[1], kernel, (x, dy)),
        )

        def judge(outputs: Sequence[Array]) -> str:
            if len(outputs) != 2:
                return f"{len(outputs)} outputs where two gradients are due"
            found = (one([output]) for one, output in zip(both, outputs, strict=True))
            return "; ".join(filter(None, found))

        return judge

    return of_inputs


def _backward_inputs(layer: _Layer) -> tuple[Array, ...]:
    x, w, _ = ops.get("conv2d").inputs((layer.x, layer.w, (layer.F,)))
    (dy,) = ops.get("relu").inputs((layer.y,))
    return dy, x, w


def _backward(layer: _Layer) -> Case:
    flops = 4 * math.prod(layer.y) * math.prod(layer.w[1:])
    return Case(
        name=f"conv backward {layer.name}",
        kind="conv2d_backward",
        inputs=functools.partial(_backward_inputs, layer),
        judge=_backward_judge(layer),
        params=layer.params,
        flops=flops,
        quick=layer.quick,
    )


def groups() -> tuple[Group, ...]:
    """Return convolutions forward and backward, if there are ops of them."""
    known = ops.names()
    forward = tuple(map(_forward, _LAYERS)) if "conv2d" in known else ()
    backward = tuple(map(_backward, _LAYERS)) if set(_GRADIENTS) <= set(known) else ()
    peers = ("tinytorch", "PyTorch", "JAX", "ONNX Runtime")
    bars = (Bar("PyTorch, on each", 0.9, ("PyTorch",)),)
    return (
        Group("conv", "Convolutions", forward, peers, bars, 60),
        Group("conv-backward", "Convolutions, both gradients", backward, peers, bars, 61),
    )
