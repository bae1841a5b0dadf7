"""Tensors as views of their file: the same numbers as read whole, and the same errors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from tinytorch.core import safetensors
from tinytorch.errors import DamagedFile


def test_views_are_what_was_saved(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False])}
    path = safetensors.save(tmp_path / "some.safetensors", arrays)
    found, _file = safetensors.mapped(path)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and not found[name].flags.writeable


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path: Path) -> None:
    numbers = np.array([1.0, -2.5, 3.0e38, 0.0], np.float32)  # the third is rounded down
    halves = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    entry = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, len(halves)]}
    header = json.dumps({"x": entry}).encode()
    path = tmp_path / "half.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + halves)
    found = safetensors.mapped(path)[0]["x"]
    assert found.dtype == np.float32 and found.shape == (2, 2)
    np.testing.assert_allclose(found.ravel(), numbers, rtol=2**-7)


@pytest.mark.parametrize("kept", [0, 5, 60])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, kept: int) -> None:
    path = safetensors.save(tmp_path / "cut.safetensors", {"a": np.ones(50, np.float32)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFile, match="damaged"):
        safetensors.mapped(path)
