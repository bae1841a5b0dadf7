"""Convolutions of ResNet and LeNet, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from case import Bar, Case, Group, op_case

from tinytorch import ops
from tinytorch.ops.spec import Shape

ORDER = 6
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


def groups() -> tuple[Group, ...]:
    """Return the forward convolutions, if there is an op of them."""
    if "conv2d" not in ops.names():
        return ()
    peers = ("tinytorch", "PyTorch", "JAX", "ONNX Runtime")
    bars = (Bar("PyTorch, on each", 0.9, ("PyTorch",)),)
    return (Group("conv", "Convolutions", tuple(map(_forward, _LAYERS)), peers, bars),)
