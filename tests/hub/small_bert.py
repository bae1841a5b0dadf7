"""A small BERT with random weights, in a folder of Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "vocab_size": 60,
    "max_position_embeddings": 40,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(56))]


def tensors(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return random tensors by the names that a saved BERT gives them."""
    rng = np.random.default_rng(seed)
    H, F = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (CONFIG["vocab_size"], H),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], H),
        "embeddings.token_type_embeddings.weight": (2, H),
        "embeddings.LayerNorm.weight": (H,),
        "embeddings.LayerNorm.bias": (H,),
    }
    layers = {
        **{f"attention.self.{part}": (H, H) for part in ("query", "key", "value")},
        "attention.output.dense": (H, H),
        "attention.output.LayerNorm": (H,),
        "intermediate.dense": (F, H),
        "output.dense": (H, F),
        "output.LayerNorm": (H,),
    }
    for i in range(CONFIG["num_hidden_layers"]):
        for name, shape in layers.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
    return {
        name: (rng.standard_normal(shape) * 0.3 + ("Norm.weight" in name)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_model(folder: Path, config: dict[str, Any] | None = None, prefix: str = "") -> Path:
    """Write config, weights and tokenizer into a folder."""
    tokenizers = pytest.importorskip("tokenizers")
    numpy_files = pytest.importorskip("safetensors.numpy")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    named = {prefix + name: tensor for name, tensor in tensors().items()}
    numpy_files.save_file(named, folder / "model.safetensors")
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(folder / "tokenizer.json"))
    return folder
