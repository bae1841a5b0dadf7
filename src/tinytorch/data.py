"""Real data from files on this machine: handwritten digits, MNIST, CIFAR-10, text.

Nothing is downloaded. Images come as float32 from 0 to 1, (N, H, W) or (N, C, H, W); labels as
int64. A file that is not there is an error that says where to get it and where to put it.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.errors import DamagedFile, InvalidValue, MissingDependency, MissingFile
from tinytorch.ops.spec import Array

__all__ = ["cifar10", "digits", "idx", "mnist", "text"]


def digits() -> tuple[Array, Array]:
    """Return scikit-learn's 1,797 images of handwritten digits (N, 8, 8), and their labels.

    Raises MissingDependency without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency(
            "scikit-learn", "the handwritten digits", "pip install scikit-learn"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32).reshape(-1, 8, 8), labels.astype(np.int64)


def _content(path: Path, what: str) -> bytes:
    """Return a file's bytes, unpacked if its name ends in .gz, or is there with .gz only."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            raw = candidate.read_bytes()
            try:
                return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            except (OSError, EOFError) as error:
                raise DamagedFile(f"{candidate} is damaged ({error}): take another copy") from error
    raise MissingFile(f"{path} is not there: {what}")


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx(path: Any) -> Array:
    """Return the array in an IDX file, the format of MNIST; packed with gzip or not.

    Two zero bytes, the type, the number of axes, a 4-byte size for each, then the elements, all
    big-endian. Raises DamagedFile for anything else, MissingFile where there is none.
    """
    content = _content(Path(path), "pass the path of an IDX file")
    try:
        zero, kind, rank = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        if zero or kind not in _IDX_TYPES:
            raise ValueError(f"it starts with {content[:4]!r}")
        array = np.frombuffer(content, _IDX_TYPES[kind], offset=4 + 4 * rank).reshape(shape)
    except (ValueError, struct.error) as error:
        raise DamagedFile(f"{path} is damaged or no IDX file: {error}") from error
    return array.astype(array.dtype.newbyteorder("="))


_WHERE_MNIST = (
    "put the four files of MNIST (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., "
    "packed with gzip or not; https://yann.lecun.com/exdb/mnist) into that folder"
)


def mnist(folder: Any, train: bool = True) -> tuple[Array, Array]:
    """Return MNIST's images (N, 28, 28) and labels, from a folder with its four IDX files."""
    stem = "train" if train else "t10k"
    read = {}
    for part in ("images-idx3", "labels-idx1"):
        dashed, dotted = (Path(folder) / f"{stem}-{part}{end}" for end in ("-ubyte", ".ubyte"))
        path = dotted if dotted.exists() else dashed
        _content(path, _WHERE_MNIST)
        read[part] = idx(path)
    images, labels = read["images-idx3"], read["labels-idx1"]
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DamagedFile(f"{folder}: images {images.shape} and labels {labels.shape} don't match")
    return images.astype(np.float32) / 255, labels.astype(np.int64)


_WHERE_CIFAR = (
    "put cifar-10-python.tar.gz or cifar-10-binary.tar.gz (https://www.cs.toronto.edu/~kriz/"
    "cifar.html), or what is in one of them, into that folder"
)
_CIFAR_RECORD = 1 + 3 * 32 * 32


def cifar10(folder: Any, train: bool = True) -> tuple[Array, Array]:
    """Return CIFAR-10's images (N, 3, 32, 32) and labels, from a folder or an archive.

    Both versions are read, the binary and Python's, from the tar archive or unpacked.
    """
    root = Path(folder)
    numbers = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
    archives = [root] if root.is_file() else sorted(root.glob("cifar-10-*.tar.gz"))
    parts = [_cifar_part(root, archives, name) for name in numbers]
    images = np.concatenate([images for images, _ in parts])
    return images.astype(np.float32) / 255, np.concatenate([labels for _, labels in parts])


def _cifar_part(root: Path, archives: list[Path], name: str) -> tuple[Array, Array]:
    for path in () if root.is_file() else root.rglob(f"{name}*"):
        if path.name in (name, f"{name}.bin"):
            return _cifar_batch(path.read_bytes(), path.name, str(path))
    for archive in archives:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    short = Path(member.name).name
                    file = tar.extractfile(member) if short in (name, f"{name}.bin") else None
                    if file is not None:
                        return _cifar_batch(file.read(), short, f"{archive}:{member.name}")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DamagedFile(f"{archive} is damaged ({error}): take another copy") from error
    raise MissingFile(f"{name} of CIFAR-10 is not in {root}: {_WHERE_CIFAR}")


def _cifar_batch(content: bytes, name: str, where: str) -> tuple[Array, Array]:
    try:
        if name.endswith(".bin"):
            records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
            return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
        batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        pixels = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return pixels, np.asarray(batch[b"labels"], np.int64).reshape(len(pixels))
    except (ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise DamagedFile(f"{where} is damaged or no batch of CIFAR-10: {error}") from error


class _PlainUnpickler(pickle.Unpickler):
    """Reads arrays, and refuses everything that could run code."""

    _ALLOWED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that arrays are made of."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def text(path: Any, pattern: str = "*.py", limit: int | None = None) -> str:
    """Return a text file, or all files of a folder that match a pattern, in the order of names.

    With `limit`, at most so many characters. Bytes that are no UTF-8 are replaced.
    """
    root = Path(path)
    if limit is not None and limit < 0:
        raise InvalidValue(f"limit must be at least 0, got {limit!r}")
    files = [root] if root.is_file() else sorted(root.rglob(pattern))
    if not files:
        raise MissingFile(f"{root} holds no text ({pattern}): pass a file, or a folder of such")
    gathered: list[str] = []
    size = 0
    for file in files:
        part = file.read_text(encoding="utf-8", errors="replace")
        gathered.append(part)
        size += len(part)
        if limit is not None and size >= limit:
            break
    return "".join(gathered)[:limit]
