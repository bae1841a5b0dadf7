"""The tuning table: what was measured to be best, one small JSON file a decision.

A file is named by the hash of its key and written beside and moved into place, so there are no
locks: two processes that tune at once lose nothing, and the later of two equal decisions stays.
Whatever can't be read, or speaks of something else than its name says, is a miss with a warning.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinytorch import config, kernels, native, ops
from tinytorch.backends.base import choices
from tinytorch.files import write_whole
from tinytorch.native.sources import source_hash
from tinytorch.ops.spec import Array, Params

SCHEMA = "tinytorch.tuning/1"


@dataclass(frozen=True)
class Key:
    """What a decision holds for: this machine, these threads, this code, calls of this kind."""

    fingerprint: str
    threads: int
    op: str
    dtype: str
    layout: str
    bucket: str
    params: str
    sources: str

    def digest(self) -> str:
        """Return the name of the key's file, without its ending."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Entry:
    """A decision, with the evidence: medians in seconds, and the ratio default / chosen.

    `over_numpy` is the same ratio for what the `numpy` backend would run: low, median, high.
    """

    key: Key
    kernel: str
    default: str
    seconds: dict[str, float]
    ratio_low: float
    ratio_median: float
    ratio_high: float
    shapes: tuple[tuple[int, ...], ...]
    tuned_at: str
    over_numpy: tuple[float, float, float] | None = None


def layout_of(array: Array) -> str:
    """Return C, F or S (strided) for an array's memory order."""
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else "S"


def bucket_of(shape: tuple[int, ...]) -> str:
    """Return a shape with each side rounded up to a power of two: (100, 64) is 128x64."""
    return "x".join(str(1 << (n - 1).bit_length() if n else 0) for n in shape) or "scalar"


@functools.cache
def _sources(op: str) -> str:
    # NOTE: the files are read, not imported: looking a call up must not load Numba.
    ours = Path(kernels.__file__).parent
    files = [path for folder in (ours, ours / op) for path in folder.glob("*.py")]
    return source_hash([*files, *Path(native.__file__).parent.rglob("*.py")])


def key_for(op: str, arrays: tuple[Array, ...], params: Params) -> Key:
    """Return the key that a call falls under."""
    from tinytorch.measure.machine import fingerprint
    from tinytorch.native.threads import get_num_threads

    described = ops.get(op)
    return Key(
        fingerprint=fingerprint(),
        threads=get_num_threads(),
        op=op,
        dtype="+".join(dict.fromkeys(array.dtype.name for array in arrays)),
        layout="".join(layout_of(array) for array in arrays),
        bucket=" ".join(bucket_of(array.shape) for array in arrays),
        params=described.params_text(dict(choices({**described.variants[0], **params}))),
        sources=_sources(op),
    )


class Table:
    """The entries of one folder, with what was read kept in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`, or `tuning` in the cache folder; it is made at the first write."""
        self.folder = folder or config.cache_dir() / "tuning"
        self._known: dict[Key, Entry | None] = {}
        self._warned = False

    def may_have_entries(self) -> bool:
        """Say, at the cost of one look at the folder, whether a look-up can find anything."""
        try:
            return bool(self._known) or self.folder.is_dir()
        except OSError:  # not even to be looked at: reading says so
            return True

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(text, RuntimeWarning, stacklevel=4)

    def path(self, key: Key) -> Path:
        """Return the file of a key."""
        return self.folder / f"{key.digest()}.json"

    def get(self, key: Key) -> Entry | None:
        """Return the entry of a key, or None. A file that can't be used is a miss."""
        if key not in self._known:
            self._known[key] = self._read(self.path(key), key)
        return self._known[key]

    def put(self, entry: Entry) -> None:
        """Keep an entry, in memory at once and on disk in one step."""
        self._known[entry.key] = entry
        try:
            write_whole(self.path(entry.key), json.dumps({"schema": SCHEMA, **asdict(entry)}))
        except OSError as error:
            self._warn(
                f"the tuning table in {self.folder} can't be written ({error.strerror}): what was "
                "measured holds for this process only; set TINYTORCH_CACHE_DIR to another folder"
            )

    def entries(self) -> Iterator[Entry]:
        """Yield every readable entry of the folder, whatever machine it is from."""
        for path in sorted(self.folder.glob("*.json")):
            entry = self._read(path, None)
            if entry is not None:
                yield entry

    def clear(self) -> int:
        """Delete all entries, and return how many there were."""
        files = list(self.folder.glob("*.json"))
        for path in files:
            path.unlink(missing_ok=True)
        self._known.clear()
        return len(files)

    def _read(self, path: Path, key: Key | None) -> Entry | None:
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            data["key"] = Key(**data["key"])
            data["shapes"] = tuple(map(tuple, data["shapes"]))
            data["over_numpy"] = data["over_numpy"] and tuple(data["over_numpy"])
            entry = Entry(**data)
            if entry.key.digest() != path.stem or (key is not None and entry.key != key):
                raise ValueError("it speaks of another key than its name says")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._warn(
                f"tuning entry {path} can't be used ({error}) and is ignored: `tito tune` writes "
                "it anew"
            )
            return None
        return entry
