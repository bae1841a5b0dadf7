"""tinytorch.utils.data: datasets and loaders under the names that PyTorch programs use."""

from __future__ import annotations

from tinytorch.core.dataloader import DataLoader, Dataset, TensorDataset

__all__ = ["DataLoader", "Dataset", "TensorDataset"]
