"""A folder in Hugging Face's layout: config.json, model.safetensors, tokenizer.json."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.core import safetensors
from tinytorch.errors import DamagedFile, InvalidValue, MissingDependency, ShapeError

Array = NDArray[Any]

_INSTALL = "pip install 'tinytorch-accel[hub]'"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises InvalidValue where it is missing or no object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidValue(
            f"{path.parent} is no model folder, for it has no {path.name}: put the model's "
            "config.json, model.safetensors and tokenizer.json into one folder"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{path} can't be read as JSON ({error}): download it again") from error
    if not isinstance(data, dict):
        raise InvalidValue(f"{path} must hold a JSON object, got {type(data).__name__}")
    return data


@dataclass(frozen=True)
class Weights:
    """The tensors of a model.safetensors file, read from the disk as they are looked at.

    `prefix` stands before the names that a model asks for: the same encoder is saved as
    `embeddings…` by itself, and as `bert.embeddings…` inside a larger model.
    """

    path: Path
    tensors: dict[str, Array]
    file: mmap.mmap
    prefix: str = ""

    @classmethod
    def open(cls, path: Path, prefixes: tuple[str, ...], probe: str) -> Weights:
        """Open a file whose names carry one of the prefixes, found by one tensor that it must have.

        Raises InvalidValue for a file that is missing, damaged or of another kind of model.
        """
        if not path.is_file():
            raise InvalidValue(f"{path.parent} has no {path.name}: download the model's weights")
        try:
            tensors, file = safetensors.mapped(path)
        except (DamagedFile, OSError) as error:
            raise InvalidValue(f"{path} is damaged ({error}): download it again") from error
        for prefix in prefixes:
            if prefix + probe in tensors:
                return cls(path, tensors, file, prefix)
        raise InvalidValue(
            f"{path} has no tensor {probe!r}, so it is no model of the kind that config.json names"
        )

    def get(self, name: str, shape: tuple[int | None, ...]) -> Array:
        """Return a tensor as float32, C-contiguous; None in `shape` stands for any size.

        float32 ones are read-only views of the file. Raises InvalidValue where it is missing,
        ShapeError where config.json says another shape.
        """
        full = self.prefix + name
        if full not in self.tensors:
            raise InvalidValue(f"{self.path} lacks the tensor {full!r}: download the model again")
        tensor = np.require(self.tensors[full], np.float32, ("C", "A"))
        if len(tensor.shape) != len(shape) or any(
            wanted not in (None, size) for size, wanted in zip(tensor.shape, shape, strict=True)
        ):
            raise ShapeError(
                f"{full} in {self.path} has shape {tensor.shape}, and config.json asks for {shape}"
            )
        return tensor

    def forget(self) -> None:
        """Give back the memory of what was read; what is looked at again is read again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)


class Tokenizer:
    """The model's own tokenizer, as the `tokenizers` library reads it; nothing is padded."""

    def __init__(self, path: Path, max_length: int) -> None:
        """Read tokenizer.json; texts of more than `max_length` tokens lose their end."""
        try:
            import tokenizers
        except ImportError as error:
            raise MissingDependency("tokenizers", f"reading {path.name}", _INSTALL) from error
        if not path.is_file():
            raise InvalidValue(f"{path.parent} has no {path.name}: download the model's tokenizer")
        try:
            self._inner = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # NOTE: the library raises plain Exception for a bad file
            raise InvalidValue(f"{path} is damaged ({error}): download it again") from error
        self._inner.no_padding()
        self._inner.enable_truncation(max_length)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included."""
        return [encoded.ids for encoded in self._inner.encode_batch(texts)]

    def decode(self, ids: list[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return str(self._inner.decode(ids))


def setting(config: dict[str, Any], path: Path, name: str, kind: type = int) -> Any:
    """Return an entry of config.json; raises InvalidValue where it is missing or of another type.

    Integers must be positive.
    """
    value: Any = config.get(name)
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits or value <= 0:
        raise InvalidValue(f"{path}: {name} must be a positive {kind.__name__}, got {value!r}")
    return value
