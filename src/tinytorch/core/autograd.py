"""The public face of gradients: Function, no_grad, and the rules by their names.

Gradients are always on. The rules are in `tinytorch.core.rules`, a class an operation with forward
and backward side by side; `type(t._grad_fn).__name__` shows which one a Tensor came from.
"""

from __future__ import annotations

from tinytorch.core.graph import Function, Rule, enable_grad, is_grad_enabled, no_grad
from tinytorch.core.rules.arithmetic import (
    AddBackward,
    AstypeBackward,
    DivBackward,
    MatmulBackward,
    MaximumBackward,
    MinimumBackward,
    MulBackward,
    NegBackward,
    PowBackward,
    SubBackward,
)
from tinytorch.core.rules.elementwise import (
    AbsBackward,
    ClipBackward,
    CosBackward,
    ExpBackward,
    GELUBackward,
    LogBackward,
    ReLUBackward,
    SigmoidBackward,
    SiLUBackward,
    SinBackward,
    SqrtBackward,
    TanhBackward,
)
from tinytorch.core.rules.layers import DropoutBackward, LinearBackward
from tinytorch.core.rules.losses import BCEBackward, CrossEntropyBackward, MSEBackward
from tinytorch.core.rules.reduce import (
    MaxBackward,
    MeanBackward,
    MinBackward,
    StdBackward,
    SumBackward,
    VarBackward,
)
from tinytorch.core.rules.rows import LogSoftmaxBackward, SoftmaxBackward
from tinytorch.core.rules.shape import (
    ConcatBackward,
    ExpandBackward,
    MaskedFillBackward,
    PermuteBackward,
    ReshapeBackward,
    SliceBackward,
    StackBackward,
    TransposeBackward,
    WhereBackward,
)

__all__ = [
    "AbsBackward",
    "AddBackward",
    "AstypeBackward",
    "BCEBackward",
    "ClipBackward",
    "ConcatBackward",
    "CosBackward",
    "CrossEntropyBackward",
    "DivBackward",
    "DropoutBackward",
    "ExpBackward",
    "ExpandBackward",
    "Function",
    "GELUBackward",
    "LinearBackward",
    "LogBackward",
    "LogSoftmaxBackward",
    "MSEBackward",
    "MaskedFillBackward",
    "MatmulBackward",
    "MaxBackward",
    "MaximumBackward",
    "MeanBackward",
    "MinBackward",
    "MinimumBackward",
    "MulBackward",
    "NegBackward",
    "PermuteBackward",
    "PowBackward",
    "ReLUBackward",
    "ReshapeBackward",
    "Rule",
    "SiLUBackward",
    "SigmoidBackward",
    "SinBackward",
    "SliceBackward",
    "SoftmaxBackward",
    "SqrtBackward",
    "StackBackward",
    "StdBackward",
    "SubBackward",
    "SumBackward",
    "TanhBackward",
    "TransposeBackward",
    "VarBackward",
    "WhereBackward",
    "enable_autograd",
    "enable_grad",
    "is_grad_enabled",
    "no_grad",
]


def enable_autograd(quiet: bool = False) -> None:
    """Do nothing: gradients are always on. Older programs call it."""
