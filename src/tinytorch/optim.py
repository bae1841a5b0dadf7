"""tinytorch.optim: optimizers and schedules under the names that PyTorch programs use."""

from __future__ import annotations

from tinytorch.core.optimizers import SGD, Adam, AdamW, Optimizer
from tinytorch.core.training import CosineSchedule

__all__ = ["SGD", "Adam", "AdamW", "CosineSchedule", "Optimizer"]
