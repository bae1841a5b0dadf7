"""PyTorch's models, eager: an encoder through `transformers`, and a GPT with a cache of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bert
import numpy as np
import torch
from decoder import Sizes
from torch.nn import functional

from peers import Absent, Run

Params = Mapping[str, Any]
Tensor = Any


def encoder(params: Params, ids: Tensor, mask: Tensor) -> Run:
    """Return the hidden states of transformers' BertModel, with its fused attention."""
    try:
        from transformers import BertModel
    except ImportError as error:
        raise Absent("`transformers` is not installed beside it") from error
    torch.set_grad_enabled(False)
    model = BertModel.from_pretrained(params["folder"], attn_implementation="sdpa").eval()
    given = None if bool(mask.all()) else mask

    def call() -> Any:
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=given).last_hidden_state

    def check() -> Any:
        return bert.pooled(call().numpy(), np.asarray(mask))

    return Run(call, preallocated=False, note="transformers, sdpa", check=check)


class _Decoder:
    """The GPT with keys and values in memory that is there before the first token."""

    def __init__(self, sizes: Sizes, vector: Tensor, batch: int) -> None:
        self.sizes, H = sizes, sizes.width
        named = sizes.tensors(vector)
        self.words, self.places = (named[f"{n}_embedding.weight"] for n in ("token", "position"))
        self.head = named["lm_head.weight"].T.contiguous()
        self.last = named["ln_f.gamma"], named["ln_f.beta"]
        self.blocks = []
        for i in range(sizes.layers):
            part = {k.split(".", 2)[2]: t for k, t in named.items() if k.startswith(f"blocks.{i}.")}
            projections = [f"attention.{p}_proj" for p in "qkv"]
            joined = torch.cat([part[f"{p}.weight"].T for p in projections]).contiguous()
            layers = [(joined, torch.cat([part[f"{p}.bias"] for p in projections]))]
            layers += [
                (part[f"{p}.weight"].T.contiguous(), part[f"{p}.bias"])
                for p in ("attention.out_proj", "mlp.linear1", "mlp.linear2")
            ]
            norms = [(part[f"{n}.gamma"], part[f"{n}.beta"]) for n in ("ln1", "ln2")]
            self.blocks.append((layers, norms))
        shape = (sizes.layers, 2, batch, sizes.heads, sizes.positions, H // sizes.heads)
        self.memory = torch.zeros(shape)

    def logits(self, tokens: Tensor, start: int) -> Tensor:
        """Return the logits after the last of tokens (B, T) that stand from `start` on."""
        B, T = tokens.shape
        H, A = self.sizes.width, self.sizes.heads
        x = self.words[tokens] + self.places[start : start + T]
        for (joined, out, wide, narrow), (first, second), memory in zip(
            *map(list, zip(*self.blocks, strict=True)), self.memory, strict=True
        ):
            made = functional.linear(functional.layer_norm(x, (H,), *first), *joined)
            q, k, v = made.view(B, T, 3, A, H // A).permute(2, 0, 3, 1, 4)
            memory[0, :, :, start : start + T], memory[1, :, :, start : start + T] = k, v
            keys, values = memory[:, :, :, : start + T]
            mixed = functional.scaled_dot_product_attention(q, keys, values, is_causal=T > 1)
            x = x + functional.linear(mixed.transpose(1, 2).reshape(B, T, H), *out)
            inner = functional.linear(functional.layer_norm(x, (H,), *second), *wide)
            x = x + functional.linear(functional.gelu(inner, approximate="tanh"), *narrow)
        return functional.linear(functional.layer_norm(x[:, -1], (H,), *self.last), self.head)


def generation(params: Params, prompt: Tensor, vector: Tensor) -> Run:
    """Return the likeliest tokens after a prompt, up to the last position."""
    sizes = Sizes(**params)
    decoder = _Decoder(sizes, vector, len(prompt))

    def call() -> Any:
        tokens = torch.zeros(len(prompt), sizes.positions, dtype=torch.int64)
        seen, end = 0, prompt.shape[1]
        tokens[:, :end] = prompt
        with torch.inference_mode():
            while end < sizes.positions:
                tokens[:, end] = decoder.logits(tokens[:, seen:end], seen).argmax(-1)
                seen, end = end, end + 1
        return tokens

    return Run(call, preallocated=False, note="sdpa, its own cache")
