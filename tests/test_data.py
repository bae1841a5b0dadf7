"""Readers of data files, on files made here in the formats' own layouts."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tinytorch import data
from tinytorch.errors import DamagedFile, InvalidValue, MissingFile

RNG = np.random.default_rng(0)


def as_idx(array: np.ndarray) -> bytes:
    kinds = {"uint8": 8, "int32": 12, "float64": 14}
    head = struct.pack(">HBB", 0, kinds[array.dtype.name], array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def test_digits() -> None:
    pytest.importorskip("sklearn")
    images, labels = data.digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.float32 and images.max() == 1
    assert labels.shape == (1797,) and set(labels) == set(range(10))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_idx(dtype: str, tmp_path: Path) -> None:
    array = RNG.integers(0, 200, (3, 4, 2)).astype(dtype)
    (tmp_path / "plain").write_bytes(as_idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(as_idx(array)))
    for name in ("plain", "packed", "packed.gz"):
        found = data.idx(tmp_path / name)
        assert found.dtype == dtype and np.array_equal(found, array)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"PK\x03\x04abcd", as_idx(np.ones(4, np.uint8))[:-1]]
)
def test_damaged_idx(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedFile, match="damaged"):
        data.idx(tmp_path / "x")
    (tmp_path / "y.gz").write_bytes(gzip.compress(b"1234")[:-6])
    with pytest.raises(DamagedFile):
        data.idx(tmp_path / "y.gz")


def test_mnist(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="train-images-idx3-ubyte"):
        data.mnist(tmp_path)
    pixels, numbers = (
        RNG.integers(0, 256, (5, 28, 28)).astype(np.uint8),
        np.arange(5, dtype=np.uint8),
    )
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(as_idx(pixels)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(as_idx(numbers))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(as_idx(pixels[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(as_idx(numbers))
    images, labels = data.mnist(tmp_path)
    assert images.dtype == np.float32 and np.array_equal(images, pixels.astype(np.float32) / 255)
    assert labels.dtype == np.int64 and labels.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(MissingFile, match="t10k"):
        data.mnist(tmp_path, train=False)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(as_idx(pixels[:2]))
    with pytest.raises(DamagedFile, match="don't match"):
        data.mnist(tmp_path, train=False)


def cifar() -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 256, (4, 3072)).astype(np.uint8), np.array([3, 0, 9, 1])


def python_batch(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=2)


def binary_batch(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return np.hstack([labels[:, None].astype(np.uint8), pixels]).tobytes()


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar(kind: str, packed: bool, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="cifar-10-python"):
        data.cifar10(tmp_path)
    pixels, labels = cifar()
    make, end = (python_batch, "") if kind == "python" else (binary_batch, ".bin")
    files = {f"data_batch_{i}{end}": make(pixels, labels) for i in range(1, 6)}
    files[f"test_batch{end}"] = make(pixels[:2], labels[:2])
    if packed:
        archive(tmp_path / f"cifar-10-{kind}.tar.gz", files)
    else:
        (tmp_path / "cifar-10-batches").mkdir()
        for name, content in files.items():
            (tmp_path / "cifar-10-batches" / name).write_bytes(content)
    images, numbers = data.cifar10(tmp_path)
    assert images.shape == (20, 3, 32, 32) and images.dtype == np.float32
    expected = pixels.reshape(4, 3, 32, 32).astype(np.float32) / 255
    assert np.array_equal(images[:4], expected) and numbers[:4].tolist() == [3, 0, 9, 1]
    assert len(data.cifar10(tmp_path, train=False)[0]) == 2
    if packed:
        assert len(data.cifar10(tmp_path / f"cifar-10-{kind}.tar.gz")[0]) == 20


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "test_batch").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DamagedFile, match="asks for"):
        data.cifar10(tmp_path, train=False)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "test_batch").write_bytes(b"garbage")
    with pytest.raises(DamagedFile):
        data.cifar10(tmp_path, train=False)
    (tmp_path / "test_batch").unlink()
    (tmp_path / "cifar-10-x.tar.gz").write_bytes(b"garbage")
    with pytest.raises(DamagedFile):
        data.cifar10(tmp_path, train=False)


def test_text(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("bé", encoding="utf-8")
    (tmp_path / "a.py").write_bytes(b"a\xff")
    assert data.text(tmp_path) == "a�bé" and data.text(tmp_path, limit=3) == "a�b"
    assert data.text(tmp_path / "b.py") == "bé"
    with pytest.raises(MissingFile, match=r"\*.md"):
        data.text(tmp_path, "*.md")
    with pytest.raises(InvalidValue):
        data.text(tmp_path, limit=-1)
    assert len(data.text(Path(np.__file__).parent / "lib", limit=10_000)) == 10_000
