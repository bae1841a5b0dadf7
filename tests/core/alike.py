"""Functions of one array that Tensors and PyTorch's spell alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ALIKE: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "exp": lambda x: x.exp(),
    "abs": lambda x: x.abs(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "clip": lambda x: x.clip(-0.7, 0.8),
    "relu": lambda x: x.relu(),
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "softmax": lambda x: x.softmax(dim=-1),
    "softmax first": lambda x: x.softmax(dim=0),
    "log_softmax": lambda x: x.log_softmax(dim=-1),
    "reshape": lambda x: x.reshape(-1) ** 2,
    "transpose": lambda x: x.T**2,
    "expand": lambda x: x.unsqueeze(0).expand(4, -1, -1) ** 2,
    "part": lambda x: x[:, ::2] ** 2,
    "repeated rows": lambda x: x[[0, 1, 0, 0]] ** 2,
    "twice used": lambda x: x * x + x,
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(),
    "powers of two": lambda x: 2.0**x,
    "beside numbers": lambda x: 3 - (2 * x + 1) / 4,
}
