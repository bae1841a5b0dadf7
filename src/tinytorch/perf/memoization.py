"""Generating with memory: `enable_kv_cache(model)` and the cache itself."""

from __future__ import annotations

from tinytorch.core.kvcache import KVCache
from tinytorch.core.transformers import GPT
from tinytorch.errors import InvalidValue

__all__ = ["KVCache", "disable_kv_cache", "enable_kv_cache"]


def _checked(model: object) -> GPT:
    if not isinstance(model, GPT):
        raise InvalidValue(f"a KV cache is for a GPT, got {type(model).__name__}")
    return model


def enable_kv_cache(model: GPT) -> KVCache:
    """Let a model keep keys and values from token to token, and return its cache.

    `model.generate` then computes one row a token, and gives the same tokens. Called by hand, a
    forward of several tokens begins anew, and one token goes on: its logits (B, 1, vocab) are those
    of the last place of the whole sequence. Raises InvalidValue for what is not a GPT.
    """
    gpt = _checked(model)
    attention = gpt.blocks[0].attention
    gpt.kv_cache = KVCache(
        1, gpt.max_seq_len, gpt.num_layers, attention.num_heads, attention.head_dim
    )
    return gpt.kv_cache


def disable_kv_cache(model: GPT) -> None:
    """Let a model compute whole sequences again, and free its cache."""
    _checked(model).kv_cache = None
