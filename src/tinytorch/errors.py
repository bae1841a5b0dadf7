"""One family of errors: each says what was asked, what was seen and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class TinyTorchError(Exception):
    """Base of everything this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be rebuilt as it is: some subclasses take other arguments than the message.

        A process pool waits for ever for an error that can't be rebuilt.
        """
        return _rebuilt, (type(self), self.args, vars(self))


def _rebuilt(kind: type[TinyTorchError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class ShapeError(TinyTorchError, ValueError):
    """Shapes, ranks or sizes that do not fit together."""


class InvalidValue(TinyTorchError, ValueError):
    """A value outside what the function accepts."""


class DamagedFile(TinyTorchError, ValueError):
    """A file that is not whole, or not of its kind."""


class MissingFile(TinyTorchError, FileNotFoundError, ValueError):
    """A file that is not there; the message says where it comes from and where it goes."""


class UnknownName(TinyTorchError, ValueError):
    """A name that nothing answers to; the message offers the nearest ones."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(choices) or "none"
        super().__init__(f"unknown {kind} {str(name)!r}: {hint}(known: {listed})")
        self.nearest = near[0] if near else None


class UnsupportedInput(TinyTorchError, ValueError):
    """No kernel of the chosen backend takes these inputs."""


class GraphError(TinyTorchError, RuntimeError, ValueError):
    """A backward pass that can't be run, or would give a wrong gradient."""


class FusionError(TinyTorchError, TypeError):
    """A function that can't become one loop; the message names the line and says what to do."""


class VerificationError(TinyTorchError):
    """An output is not proven close to the reference; nothing is timed after this."""


class MeasurementError(TinyTorchError, RuntimeError):
    """A measurement could not be taken here."""


class MissingDependency(TinyTorchError, ImportError):
    """An optional library is asked for and is not installed."""

    def __init__(self, library: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {library}, which is not installed: run `{install}`")
