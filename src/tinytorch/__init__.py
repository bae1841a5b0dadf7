"""TinyTorch, with an acceleration system that is real."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "backends": "set_backend get_backend use_backend",
    "native.threads": "set_num_threads get_num_threads",
    "kernels.warm": "warmup",
    "core.tensor": "Tensor concat stack where",
    "core.autograd": "Function no_grad enable_grad enable_autograd",
    "core.randomness": "manual_seed",
    "core.activations": "Sigmoid ReLU Tanh GELU SiLU Softmax",
    "core.layers": "Layer Module Linear Dropout Sequential",
    "core.shaping": "Flatten",
    "core.losses": "MSELoss CrossEntropyLoss BinaryCrossEntropyLoss log_softmax",
    "core.optimizers": "SGD Adam AdamW",
    "core.dataloader": "Dataset TensorDataset DataLoader RandomHorizontalFlip RandomCrop Compose",
    "core.training": "Trainer CosineSchedule clip_grad_norm",
    "core.convolutions": "Conv2d MaxPool2d AvgPool2d BatchNorm2d SimpleCNN",
    "core.tokenization": "Tokenizer CharTokenizer BPETokenizer create_tokenizer",
    "core.embeddings": "Embedding PositionalEncoding EmbeddingLayer create_sinusoidal_embeddings",
    "core.attention": "MultiHeadAttention scaled_dot_product_attention",
    "core.transformers": "LayerNorm MLP TransformerBlock GPT TinyGPT create_causal_mask",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names.split()}
_MODULES = ("core", "data", "hub", "nn", "optim", "perf", "utils")

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import tinytorch` stays light."""
    if name in _MODULES:
        return importlib.import_module(f"tinytorch.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'tinytorch' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tinytorch.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
