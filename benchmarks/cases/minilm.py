"""A real encoder, all-MiniLM-L6-v2: token ids in, hidden states out, in float32 and in INT8.

Texts of one length stand in full batches; sentences of mixed length are padded for the peers, which
get a mask, and for ours laid one behind the other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from case import Bar, Case, Group, Judge

from tinytorch.cli.embed import installed_model
from tinytorch.ops.spec import Array

BATCHES = ((1, 16), (1, 128), (8, 128), (32, 128))
_LAYERS, _WIDTH, _INNER = 6, 384, 1536
# Sequences of a batch whose embeddings are verified.
_VERIFIED = 4


def _flops(lengths: Sequence[int]) -> int:
    """Return a forward's FLOPs over the tokens that there are, padding left out."""
    return 2 * _products(lengths) + _LAYERS * sum(4 * n * n * _WIDTH for n in lengths)


def _products(lengths: Sequence[int]) -> int:
    """Return the multiply-adds of the products by weights, attention's left out."""
    return _LAYERS * sum(lengths) * _WIDTH * (4 * _WIDTH + 2 * _INNER)


def full(batch: int, length: int) -> tuple[Array, ...]:
    """Return the ids of a full batch and its mask."""
    ids = np.random.default_rng([batch, length]).integers(1000, 20_000, (batch, length))
    return ids, np.ones((batch, length), np.int64)


@functools.cache
def _mixed(folder: Path) -> tuple[Array, ...]:
    from sentences import sentences

    from tinytorch.hub.folder import Tokenizer

    found = Tokenizer(folder / "tokenizer.json", 256).encode(sentences())
    ids = np.zeros((len(found), max(map(len, found))), np.int64)
    mask = np.zeros_like(ids)
    for i, tokens in enumerate(found):
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
    return ids, mask


def _judge(folder: Path, precision: str, inputs: tuple[Any, ...]) -> Judge:
    """Judge some embeddings by the formulas in float64: 1e-5 in float32, cosine 0.99 in INT8."""
    import bert

    ids, mask = inputs
    rows = np.unique(np.linspace(0, len(ids) - 1, _VERIFIED).astype(int))
    lengths = bert.lengths_of(mask)
    exact = bert.embeddings(folder, [ids[row, : lengths[row]] for row in rows])

    def judge(outputs: Sequence[Array]) -> str:
        (seen,) = outputs
        if seen.shape != (len(ids), _WIDTH) or seen.dtype != np.float32:
            return f"the output is {seen.dtype}{list(seen.shape)}"
        error = float(np.abs(seen[rows] - exact).max())
        cosine = float((seen[rows] * exact).sum(axis=1).min())
        if precision == "int8":
            return "" if cosine >= 0.99 else f"cosine {cosine:.3f} to the exact embedding"
        return "" if error <= 1e-5 else f"errs by {error:.1e}"

    return judge


def _case(name: str, folder: Path, precision: str, inputs: Any, lengths: Sequence[int]) -> Case:
    return Case(
        name=f"{name}, {precision}",
        kind="encoder",
        inputs=inputs,
        judge=functools.partial(_judge, folder, precision),
        params={
            "folder": str(folder),
            "precision": precision,
            "products": _products(lengths),
        },
        flops=_flops(lengths),
        quick=name == "minilm 8x128",
    )


def _cases(folder: Path, precision: str) -> tuple[Case, ...]:
    whole = [
        _case(f"minilm {b}x{t}", folder, precision, functools.partial(full, b, t), [t] * b)
        for b, t in BATCHES
    ]
    lengths = _mixed(folder)[1].sum(axis=1).tolist()
    mixed = functools.partial(_mixed, folder)
    return (*whole, _case("minilm 32 sentences", folder, precision, mixed, lengths))


def groups() -> tuple[Group, ...]:
    """Return the encoder in float32 and in INT8, where the model is installed."""
    folder = installed_model()
    if folder is None:
        return ()
    plain = (
        Bar("ONNX Runtime, on each", 1.1, ("ONNX Runtime",)),
        Bar("PyTorch, on each", 1.3, ("PyTorch",)),
    )
    coded = (
        Bar("ONNX Runtime in float32, on each", 2.0, ("ONNX Runtime",)),
        Bar("ONNX Runtime's dynamic INT8, on each", 1.8, ("ONNX Runtime INT8",)),
    )
    own = "A real encoder, all-MiniLM-L6-v2"
    others = ("tinytorch", "ONNX Runtime", "ONNX Runtime INT8", "our float32", "INT8 peak")
    peers = (*others[:2], "PyTorch", "float32 peak")
    floats, codes = (_cases(folder, precision) for precision in ("float32", "int8"))
    floors = ((("float32 peak",),), (("INT8 peak",),))
    return (
        Group("minilm", own, floats, peers, plain, 70, floor=floors[0]),
        Group("minilm8", f"{own}, in INT8", codes, others, coded, 71, floor=floors[1]),
    )
