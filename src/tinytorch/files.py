"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Write a UTF-8 text file so that a reader, or a crash, sees all of it or nothing.

    The folder is made if need be. Raises OSError where it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    beside = Path(temporary)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.chmod(0o644)  # mkstemp's own mode keeps others from reading it
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return path
