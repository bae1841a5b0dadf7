"""Modules that are loaded when something of theirs is used, not when they are imported.

Numba imports what only some of its users need: a configuration file's language, what is installed
beside it, classes, SciPy's version. That is a third of the time that importing it takes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until an attribute is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import machinery's own questions
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def put_off(*names: str, without: tuple[str, ...] = ()) -> Iterator[None]:
    """Have modules named by an `import` inside loaded later; those of `without` can't be imported.

    Modules that are loaded already stay as they are, and from the end on imports are as ever. No
    garbage is looked for inside: modules make many objects, and nearly no garbage.
    """
    stand_ins: dict[str, ModuleType | None] = {name: _Later(name) for name in names}
    stand_ins |= dict.fromkeys(without)
    stand_ins = {n: module for n, module in stand_ins.items() if n not in sys.modules}
    collects = gc.isenabled()
    gc.disable()
    sys.modules |= stand_ins  # type: ignore[arg-type]  # None is what refuses an import
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name, module) is module:
                sys.modules.pop(name, None)
        if collects:
            _grow_old()
            gc.enable()


def _grow_old() -> None:
    """Have the collector take what there is for old, without a look at each object of it."""
    if not gc.get_freeze_count():  # else what someone set aside would come back
        gc.freeze()
        gc.unfreeze()
