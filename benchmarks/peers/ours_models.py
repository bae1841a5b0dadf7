"""TinyTorch's models: a pretrained encoder, and a GPT that generates."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import bert
import numpy as np
from decoder import Sizes

from peers import Run
from tinytorch import hub
from tinytorch.core.transformers import GPT
from tinytorch.perf.memoization import enable_kv_cache

Params = Mapping[str, Any]


def encoder(params: Params, ids: Any, mask: Any, variant: str = "") -> Run:
    """Return the hidden states of an encoder: in float32 for the variant of that name."""
    model = hub.load(params["folder"], variant or params["precision"])
    rows = [row[:n] for row, n in zip(ids, bert.lengths_of(mask), strict=True)]
    call = functools.partial(model.forward, rows)

    def check() -> Any:
        means = np.stack([states.mean(axis=0) for states in call()])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    return Run(call, preallocated=False, note="no padding", check=check)


def generation(params: Params, prompt: Any, vector: Any) -> Run:
    """Return the likeliest tokens after a prompt, up to the last position."""
    sizes = Sizes(**params)
    model = GPT(sizes.vocabulary, sizes.width, sizes.layers, sizes.heads, sizes.positions)
    model.load_state_dict(sizes.tensors(vector))
    enable_kv_cache(model)
    count = sizes.positions - prompt.shape[1]
    check = lambda: model.generate(prompt, count, temperature=0).numpy()  # noqa: E731
    return Run(check, preallocated=False)
