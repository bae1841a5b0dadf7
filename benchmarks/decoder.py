"""A GPT of random weights as one vector of numbers, so that every peer has the same; in NumPy.

Radford et al., 2019: norms before attention and before the MLP, GELU in its tanh form, the head
without a bias and not tied to the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Sizes:
    """What a GPT is made of: vocabulary, width, layers, heads and positions."""

    vocabulary: int = 512
    width: int = 256
    layers: int = 4
    heads: int = 8
    positions: int = 512

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return each tensor's shape, by the names of TinyTorch's GPT; weights are (in, out)."""
        H, named = self.width, {}
        named["token_embedding.weight"] = (self.vocabulary, H)
        named["position_embedding.weight"] = (self.positions, H)
        for i in range(self.layers):
            block = f"blocks.{i}."
            for norm in ("ln1", "ln2"):
                named |= {f"{block}{norm}.gamma": (H,), f"{block}{norm}.beta": (H,)}
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                name = f"{block}attention.{part}"
                named |= {f"{name}.weight": (H, H), f"{name}.bias": (H,)}
            for part, shape in (("linear1", (H, 4 * H)), ("linear2", (4 * H, H))):
                name = f"{block}mlp.{part}"
                named |= {f"{name}.weight": shape, f"{name}.bias": shape[1:]}
        named |= {"ln_f.gamma": (H,), "ln_f.beta": (H,), "lm_head.weight": (H, self.vocabulary)}
        return named

    def draw(self, seed: int = 0) -> Array:
        """Return all tensors as one float32 vector."""
        rng, parts = np.random.default_rng(seed), []
        for name, shape in self.shapes().items():
            scale = 1 / math.sqrt(shape[0]) if len(shape) == 2 and "embedding" not in name else 0.3
            values = rng.standard_normal(shape) * scale + name.endswith("gamma")
            parts.append(values.ravel().astype(np.float32))
        return np.concatenate(parts)

    def tensors(self, vector: Array) -> dict[str, Array]:
        """Return the vector's parts by name, as views."""
        named, start = {}, 0
        for name, shape in self.shapes().items():
            end = start + math.prod(shape)
            named[name] = vector[start:end].reshape(shape)
            start = end
        return named


def _norm(x: Array, named: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * named[f"{name}.gamma"] + named[f"{name}.beta"])


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def greedy(sizes: Sizes, vector: Array, prompt: Array, count: int) -> Array:
    """Return prompts (B, T) and the `count` likeliest tokens after each, one by one, in float64."""
    named = {name: t.astype(np.float64) for name, t in sizes.tensors(vector).items()}
    tokens = np.zeros((len(prompt), prompt.shape[1] + count), np.int64)
    tokens[:, : prompt.shape[1]] = prompt
    B, A, d = len(prompt), sizes.heads, sizes.width // sizes.heads
    memory = np.zeros((sizes.layers, 2, B, A, tokens.shape[1], d))
    for t in range(tokens.shape[1] - 1):
        x = named["token_embedding.weight"][tokens[:, t]] + named["position_embedding.weight"][t]
        for i in range(sizes.layers):
            block = f"blocks.{i}."
            normal = _norm(x, named, f"{block}ln1")
            q, k, v = (
                (
                    normal @ named[f"{block}attention.{p}.weight"]
                    + named[f"{block}attention.{p}.bias"]
                ).reshape(B, A, d)
                for p in ("q_proj", "k_proj", "v_proj")
            )
            memory[i, 0, :, :, t], memory[i, 1, :, :, t] = k, v
            keys, values = memory[i, :, :, :, : t + 1]
            scores = np.exp(np.einsum("bad,batd->bat", q, keys) / math.sqrt(d))
            mixed = np.einsum("bat,batd->bad", scores / scores.sum(-1, keepdims=True), values)
            name = f"{block}attention.out_proj"
            x = x + mixed.reshape(B, -1) @ named[f"{name}.weight"] + named[f"{name}.bias"]
            inner = _norm(x, named, f"{block}ln2") @ named[f"{block}mlp.linear1.weight"]
            inner = _gelu(inner + named[f"{block}mlp.linear1.bias"])
            x = x + inner @ named[f"{block}mlp.linear2.weight"] + named[f"{block}mlp.linear2.bias"]
        if t + 1 >= prompt.shape[1]:
            logits = _norm(x, named, "ln_f") @ named["lm_head.weight"]
            tokens[:, t + 1] = logits.argmax(-1)
    return tokens
