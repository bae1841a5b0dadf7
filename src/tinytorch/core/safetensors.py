"""Arrays in a file: the safetensors format, with a checksum, written whole or not at all.

Eight bytes give the length of a JSON header, the header gives each array's dtype, shape and place,
and the rest is the arrays. No code is in such a file. Our own files carry a CRC-32 of everything
among the metadata, so that a damaged one is noticed; files of others are read without.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.errors import DamagedFile, InvalidValue
from tinytorch.files import write_bytes_whole
from tinytorch.ops.spec import Array

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000


def save(path: Any, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Path:
    """Write arrays (or Tensors) by name, and text metadata; a crash leaves the old file in place.

    Raises InvalidValue for a dtype that the format does not have.
    """
    header: dict[str, Any] = {}
    parts: list[Array] = []
    place = checksum = 0
    for name, value in arrays.items():
        array = np.asarray(getattr(value, "_data", value))
        flat = np.ascontiguousarray(array)
        dtype = flat.dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise InvalidValue(f"{name!r} has dtype {flat.dtype}, which safetensors does not have")
        flat = flat.astype(dtype, copy=False).reshape(-1).view(np.uint8)
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + flat.size],
        }
        place += flat.size
        checksum = zlib.crc32(flat.tobytes() if not flat.size else flat.data, checksum)
        parts.append(flat)
    told = dict(metadata or {})
    header["__metadata__"] = told
    told["crc32"] = str(zlib.crc32(json.dumps(header).encode(), checksum))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return write_bytes_whole(Path(path), [struct.pack("<Q", len(text)), text, *parts])


def load(path: Any) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays by name, and the metadata.

    Raises DamagedFile for a file that is not whole, or no such file at all; OSError where it can't
    be read.
    """
    content = Path(path).read_bytes()
    try:
        return _parsed(content)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DamagedFile(
            f"{path} is damaged or no safetensors file ({error}): take another copy of it"
        ) from error


def mapped(path: Any) -> tuple[dict[str, Array], mmap.mmap]:
    """Return the arrays by name as read-only views of the file in memory, and what keeps them.

    Nothing is copied or read before it is looked at; bfloat16 alone is returned as float32, copied.
    Errors as `load`.
    """
    with Path(path).open("rb") as file:
        try:
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return _parsed(held, is_view=True)[0], held
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise DamagedFile(
                f"{path} is damaged or no safetensors file ({error}): take another copy of it"
            ) from error


def _array(part: memoryview, entry: dict[str, Any], is_view: bool) -> Array:
    if entry["dtype"] == "BF16":  # the upper half of a float32
        wide = np.frombuffer(part, "<u2").astype(np.uint32) << 16
        return np.asarray(wide.view(np.float32).reshape(entry["shape"]))
    array = np.frombuffer(part, _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array.astype(array.dtype.newbyteorder("="), copy=not is_view)


def _parsed(
    content: bytes | mmap.mmap, is_view: bool = False
) -> tuple[dict[str, Array], dict[str, str]]:
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(_LONGEST_HEADER, len(content) - 8):
        raise ValueError(f"its header would have {length} bytes, and the file has {len(content)}")
    header = json.loads(content[8 : 8 + length])
    data = memoryview(content)[8 + length :]
    _check_sum(header, data)
    metadata = dict(header.pop("__metadata__", {}))
    arrays = {}
    end = 0
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        part = data[first:last]
        if not 0 <= first <= last or len(part) != last - first:
            raise ValueError(f"{name!r} ends at byte {last}, and there are {len(data)}")
        arrays[name] = _array(part, entry, is_view)
        end = max(end, last)
    if end != len(data):
        raise ValueError(f"its arrays end at byte {end}, and there are {len(data)}")
    return arrays, metadata


def _check_sum(header: dict[str, Any], data: memoryview) -> None:
    told = header.get("__metadata__", {})
    if "crc32" in told:
        written = int(told.pop("crc32"))
        if written != zlib.crc32(json.dumps(header).encode(), zlib.crc32(data)):
            raise ValueError("its checksum does not match")
