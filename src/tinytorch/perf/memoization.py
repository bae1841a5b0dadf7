"""Generating with memory: `enable_kv_cache(model)`, the cache itself, and what it saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinytorch.core.kvcache import KVCache
from tinytorch.core.transformers import GPT
from tinytorch.errors import InvalidValue
from tinytorch.measure import charts
from tinytorch.measure.report import Spec, write_png

__all__ = ["Growth", "KVCache", "disable_kv_cache", "enable_kv_cache", "measure_growth"]


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


@dataclass(frozen=True)
class Growth:
    """How long generating takes: seconds for each of `lengths` tokens, with a cache and without."""

    lengths: tuple[int, ...]
    cached: tuple[float, ...]
    uncached: tuple[float, ...]

    def _exponent(self, seconds: Sequence[float]) -> float:
        slope, _ = np.polyfit(np.log(self.lengths), np.log(seconds), 1)
        return float(slope)

    @property
    def cached_exponent(self) -> float:
        """p of the fitted seconds ~ length^p, with a cache: near 1."""
        return self._exponent(self.cached)

    @property
    def uncached_exponent(self) -> float:
        """The same without: towards 2 as products come to dominate, and beyond with attention."""
        return self._exponent(self.uncached)

    def chart(self) -> Spec:
        """Return both as a chart of seconds against tokens, on logarithmic axes."""
        named = {
            f"without a cache: length^{self.uncached_exponent:.2f}": self.uncached,
            f"with a cache: length^{self.cached_exponent:.2f}": self.cached,
        }
        rows = [
            (name, float(length), value)
            for name, seconds in named.items()
            for length, value in zip(self.lengths, seconds, strict=True)
        ]
        return charts.lines(rows, "tokens generated", "seconds")

    def plot(self, path: str | Path) -> Path:
        """Draw the chart to a PNG file."""
        return write_png(self.chart(), Path(path))


@contextmanager
def _as_it_was(model: GPT) -> Iterator[None]:
    kept = model.kv_cache
    try:
        yield
    finally:
        model.kv_cache = kept


def measure_growth(model: GPT, lengths: Sequence[int] | None = None, repeats: int = 3) -> Growth:
    """Return how long a model takes to generate so many tokens, the median of `repeats` each.

    Greedy, after one token; by default 5 lengths that double, up to max_seq_len. With and without a
    cache take turns. Raises InvalidValue for what is no GPT, or for lengths that aren't at least
    two different ones from 1 to max_seq_len - 1.
    """
    gpt = _checked(model)
    most = gpt.max_seq_len - 1
    chosen = sorted(set(lengths or (max(1, most >> i) for i in range(5))))
    if len(chosen) < 2 or not 1 <= chosen[0] <= chosen[-1] <= most or repeats < 1:
        raise InvalidValue(
            f"growth needs two lengths or more from 1 to {most} and repeats of at least 1, got "
            f"{chosen} and {repeats!r}"
        )
    taken: dict[bool, list[float]] = {True: [], False: []}
    with _as_it_was(gpt):
        cache = enable_kv_cache(gpt)
        for kept in (cache, None):
            gpt.kv_cache = kept
            # What few tokens and what many take is compiled before anything is timed.
            gpt.generate([0], chosen[0], temperature=0)
            for length in chosen[1:]:
                gpt.generate([0] * (length - 1), 2, temperature=0)
        for length in chosen:
            samples: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(repeats):
                for has_cache, seconds in samples.items():
                    gpt.kv_cache = cache if has_cache else None
                    start = time.perf_counter()
                    gpt.generate([0], length, temperature=0)
                    seconds.append(time.perf_counter() - start)
            for has_cache, seconds in samples.items():
                taken[has_cache].append(statistics.median(seconds))
    return Growth(tuple(chosen), tuple(taken[True]), tuple(taken[False]))
