"""Pretrained models from folders in Hugging Face's layout: `hub.load(path)`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.hub.folder import read_json

__all__ = ["load"]

# The kinds of model, and the module that builds each from its folder.
_MODELS = {"bert": "tinytorch.hub.bert", "gpt2": "tinytorch.hub.gpt2"}


def load(path: str | Path, precision: str = "float32") -> Any:
    """Return the model in a folder that holds config.json, model.safetensors and tokenizer.json.

    BERT-type encoders come as `hub.bert.Encoder`, GPT-2-type decoders as `hub.gpt2.Decoder`.
    `precision` is "float32" or, for encoders, "int8": then linear layers multiply INT8 codes,
    weights a scale a column, activations a scale a row, or a part of one; attention between them
    stays in float32. Raises InvalidValue for a folder that is missing, incomplete or damaged,
    UnknownName for a kind of model that is not known, and MissingDependency without the libraries
    of the extra `hub`.
    """
    if precision not in ("float32", "int8"):
        raise UnknownName("precision", precision, ("float32", "int8"))
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InvalidValue(f"no model folder at {folder}: pass the folder that holds config.json")
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in _MODELS:
        raise UnknownName(f"model_type in {folder / 'config.json'}", kind, _MODELS)
    return importlib.import_module(_MODELS[kind]).load(folder, config, precision == "int8")
