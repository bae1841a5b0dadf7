"""A hash over source files: by it, compiled code and measured choices notice that code changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def sources_in(folder: Path) -> Iterator[Path]:
    """Yield every Python source in a folder and in those inside it."""
    # NOTE: Path.rglob takes four times as long, and each process that runs compiled code looks.
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(place, name) for name in files if name.endswith(".py"))


def source_hash(paths: Iterable[Path]) -> str:
    """Return 16 hex digits that change with the content or the name of any of the files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
