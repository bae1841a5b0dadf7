"""The `tito` command: its commands by name, each module loaded when it is used.

Exit codes: 0 done; 1 a check failed; 2 bad usage; 3 something could not be measured.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from tinytorch import __version__
from tinytorch.errors import (
    MeasurementError,
    MissingDependency,
    TinyTorchError,
    UnknownName,
    VerificationError,
)

# Each is a function of its own name in a module of its own name; its docstring is its help.
COMMANDS = (
    "journey",
    "machine",
    "ladder",
    "bench",
    "compare",
    "profile",
    "claims",
    "roofline",
    "cache",
    "tune",
    "ops",
    "doctor",
    "selftest",
    "warmup",
    "embed",
)


class _Lazy(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            raise UnknownName("command", name, COMMANDS)
        module = importlib.import_module(f"tinytorch.cli.{name}")
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tito")
def tito() -> None:
    """Show why ML code is slow on this machine, make it fast, and prove every number.

    Start with `tito journey`.
    """


def _one_line(message: Warning | str, *rest: Any, **keywords: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; every expected error is one line."""
    warnings.showwarning = _one_line
    try:
        result = tito(args=arguments, prog_name="tito", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except VerificationError as error:
        print(f"tito: {error}", file=sys.stderr)
        return 1
    except (MeasurementError, MissingDependency) as error:
        print(f"tito: {error}", file=sys.stderr)
        return 3
    except TinyTorchError as error:
        print(f"tito: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("tito: interrupted", file=sys.stderr)
        return 3
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep Python from flushing into the void.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"tito: {error}", file=sys.stderr)
        return 3
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `tito` script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
