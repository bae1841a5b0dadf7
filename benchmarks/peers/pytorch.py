"""PyTorch on the CPU: eager, and through torch.compile (the variant), which needs a C++ compiler.

Eager calls write into `out=` where PyTorch has it, also in between; what it compiles allocates.
"""

from __future__ import annotations

import functools
import importlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from peers import Absent, Run

Params = Mapping[str, Any]


def start(threads: int) -> str:
    """Set the number of threads, and no gradients."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return str(torch.__version__)


def tensors(arrays: tuple[Any, ...]) -> list[Any]:
    """Return arrays as tensors; numbers as they are."""
    import torch

    return [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arrays]


def compiled(function: Any, *arguments: Any) -> Run:
    """Return a call of what torch.compile makes of a function."""
    import torch

    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        raise Absent("torch.compile needs a C++ compiler, and there is none here")
    torch._dynamo.reset()
    with torch.no_grad():
        made = torch.compile(function, dynamic=False)
        made(*arguments)
    return Run(functools.partial(made, *arguments), preallocated=False)


def matmul(params: Params, *arrays: Any) -> Run:
    """Return torch.matmul into an output of its own."""
    import torch

    a, b = tensors(arrays)
    return Run(functools.partial(torch.matmul, a, b, out=torch.matmul(a, b)))


def _layer(params: Params) -> Any:
    from torch.nn import functional

    activation = {
        "gelu": functools.partial(functional.gelu, approximate="tanh"),
        "relu": functional.relu,
        "none": lambda z: z,
    }[params["activation"]]
    return lambda x, w, b: activation(functional.linear(x, w, b))


def linear(params: Params, *arrays: Any) -> Run:
    """Return addmm into an output, then the activation where it lies: the least it can move."""
    import torch

    x, w, b = tensors(arrays)
    out = torch.empty(x.shape[0], w.shape[1])
    if params["activation"] == "gelu":
        gelu = torch.ops.aten.gelu_

        def call() -> Any:
            torch.addmm(b, x, w, out=out)
            return gelu(out, approximate="tanh")

        return Run(call)
    relu = torch.relu_ if params["activation"] == "relu" else (lambda z: z)
    return Run(lambda: relu(torch.addmm(b, x, w, out=out)))


def linear_compiled(params: Params, *arrays: Any, variant: str) -> Run:
    """Return nn.Linear's layout, (N, K), compiled."""
    x, w, b = tensors(arrays)
    return compiled(_layer(params), x, w.T.contiguous(), b)


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs, through PyTorch's own functions where it has them."""
    from peers import pytorch_programs

    return pytorch_programs.eager(params["program"], tensors(arrays))


def program_compiled(params: Params, *arrays: Any, variant: str) -> Run:
    """Return one of the programs, compiled."""
    from peers import pytorch_programs

    function = pytorch_programs.FORMULAS[params["program"]]
    return compiled(function, *tensors(arrays))


def _of_module(module: str, name: str) -> Any:
    def make(params: Params, *arrays: Any) -> Run:
        made = importlib.import_module(f"peers.{module}")
        return getattr(made, name)(params, *tensors(arrays))  # type: ignore[no-any-return]

    return make


def training(params: Params, *arrays: Any) -> Run:
    """Return a training step of one of the models, eager."""
    from training import begun

    from peers import pytorch_training

    step, losses, note = begun(pytorch_training.trainer, params["recipe"], arrays)
    return Run(step, preallocated=False, note=note, check=lambda: losses)


_LAYERS = ("attention", "conv2d", "conv2d_backward", "quantized_linear", "sparse")
MAKERS = {name: _of_module("pytorch_layers", name) for name in _LAYERS}
MAKERS |= {name: _of_module("pytorch_models", name) for name in ("encoder", "generation")}
MAKERS |= {
    "matmul": matmul,
    "linear": linear,
    "linear compile": linear_compiled,
    "program": program,
    "training": training,
    "program compile": program_compiled,
}
