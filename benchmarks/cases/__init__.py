"""The groups of cases: each file here makes one or more, in `groups()`."""

from __future__ import annotations

import importlib
import pkgutil

from case import Group


def groups() -> tuple[Group, ...]:
    """Return every group that has cases; those of ops that are not there are left out."""
    modules = (importlib.import_module(f"cases.{m.name}") for m in pkgutil.iter_modules(__path__))
    made = (group for module in modules for group in module.groups() if group.cases)
    return tuple(sorted(made, key=lambda group: group.order))
