"""Training with PyTorch, eager: nn layers, one projection for q, k and v, fused optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from training import Recipe


class _Block(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        b, t, c = x.shape
        parts = self.qkv(self.norm1(x)).split(c, dim=2)
        q, k, v = (p.view(b, t, self.heads, c // self.heads).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))


class _GPT(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        width, layers, heads, length, vocabulary = sizes
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).flatten(0, 1)

    def take(self, weights: list[Any]) -> None:
        rest = iter(weights)

        def fill(layer: Any) -> None:
            layer.weight.data = (
                next(rest).T.contiguous() if isinstance(layer, nn.Linear) else (next(rest))
            )
            if layer.bias is not None:
                layer.bias.data = next(rest)

        self.tokens.weight.data, self.places.weight.data = next(rest), next(rest)
        for block in self.blocks:
            fill(block.norm1)
            three = [(next(rest), next(rest)) for _ in range(3)]
            block.qkv.weight.data = torch.cat([w.T for w, _ in three]).contiguous()
            block.qkv.bias.data = torch.cat([b for _, b in three])
            fill(block.out)
            for layer in (block.norm2, block.up, block.down):
                fill(layer)
        fill(self.norm)
        self.head.weight.data = next(rest).T.contiguous()


def _layers(weights: list[Any]) -> list[Any]:
    made: list[Any] = []
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        layer: Any = (
            nn.Linear(*w.shape) if w.ndim == 2 else nn.Conv2d(w.shape[1], w.shape[0], w.shape[2])
        )
        layer.weight.data = w.T.contiguous() if w.ndim == 2 else w
        layer.bias.data = b
        made.append(layer)
    return made


def _model(recipe: Recipe, sizes: tuple[int, ...], weights: list[Any]) -> Any:
    if recipe.kind == "gpt":
        gpt = _GPT(sizes)
        gpt.take(weights)
        return gpt
    layers = _layers(weights)
    parts: list[Any] = []
    for i, layer in enumerate(layers):
        if recipe.kind == "cnn" and i == 2:
            parts.append(nn.Flatten())
        parts += [layer, nn.ReLU()] if i + 1 < len(layers) else [layer]
        if recipe.kind == "cnn" and i < 2:
            parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts)


def trainer(recipe: Recipe, sizes: tuple[int, ...], arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """Return a function that takes one step and returns the loss before it."""
    torch.set_grad_enabled(True)
    *weights, x, y = (torch.from_numpy(a.copy()) for a in arrays)
    model = _model(recipe, sizes, weights)
    targets = y.flatten()
    kind: Any = torch.optim.AdamW if recipe.kind == "gpt" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=recipe.lr, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), targets)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step
