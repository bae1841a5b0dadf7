"""Rewrite the tables in README.md, CONTRIBUTING.md and docs/*.md from the code: `make docs`.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`, and NAME is a key of BLOCKS.
With `--check` nothing is written, and the exit code is 1 where a file is stale.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import click

from tinytorch import backends, config, ops
from tinytorch.cli import main as cli
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.roofline import arithmetic_intensity
from tinytorch.measure.units import figures
from tinytorch.ops.spec import Op, Size

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "make docs"
_BEGIN, _END = "<!-- generated: ", "<!-- end -->"
_BLOCK = re.compile(rf"{_BEGIN}(?P<name>[\w-]+) -->\n.*?{_END}", re.DOTALL)


def files() -> list[Path]:
    """Return the pages that may hold generated blocks."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def code(text: str) -> str:
    """Return text in code font."""
    return f"`{text}`"


# ------------------------------------------------------------------------------- the house


def _layers() -> list[tuple[str, ...]]:
    """Return the import order, which one place states: the test that holds it."""
    tree = ast.parse((ROOT / "tests/test_house.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return list(ast.literal_eval(node.value))
    raise InvalidValue("tests/test_house.py states no LAYERS: the map of the house needs them")


def house() -> str:
    """The packages from the bottom up, each with the first line that it says about itself."""
    rows = []
    for name in (name for layer in _layers() for name in layer):
        where = ROOT / "src/tinytorch" / name
        if where.is_dir() or where.with_suffix(".py").is_file():
            module = importlib.import_module(f"tinytorch.{name}")
            path = f"src/tinytorch/{name}{'/' if where.is_dir() else '.py'}"
            rows.append((code(path), (module.__doc__ or "").splitlines()[0]))
    return table(("where", "what it says about itself"), rows)


# ----------------------------------------------------------------------- ops, kernels, backends


def _dearest(op: Op) -> Size:
    """Return the ladder size with the most arithmetic."""
    return max(op.ladder, key=lambda size: op.flops(size.shapes))


def op_costs() -> str:
    """What each op costs at the largest size of its ladder."""
    rows = []
    for op in map(ops.get, ops.names()):
        size = _dearest(op)
        cost = op.cost(size.shapes, op.dtypes[0])
        rows.append(
            (
                code(op.name),
                code(op.signature),
                ", ".join(op.dtypes),
                "; ".join(op.params_text(v) for v in op.variants if v) or "-",
                f"{size.name} ({op.dtypes[0]})",
                f"{cost.flops:,}",
                f"{cost.bytes_moved:,}",
                figures(arithmetic_intensity(cost.flops, cost.bytes_moved)),
            )
        )
    columns = ("op", "shapes", "dtypes", "params", "at size", "FLOPs", "bytes", "FLOP/byte")
    return table(columns, rows)


def op_tolerances() -> str:
    """How far from the float64 reference an output may be, and why."""
    rows = [(code(op.name), op.tolerance.why) for op in map(ops.get, ops.names())]
    return table(("op", "the error allowed, and why"), rows)


def _takes(rung: Kernel) -> str:
    small = f"; worth it from {rung.worthwhile_from:,} elements" if rung.worthwhile_from else ""
    return rung.support.words + small


def ladders() -> str:
    """Every rung of every ladder, from the bottom up."""
    parts = []
    for name in ops.names():
        rows = [
            (
                code(rung.name),
                code(rung.above) if rung.above else "-",
                rung.idea,
                _takes(rung),
                ", ".join(rung.dtypes) if rung.dtypes else "any",
            )
            for rung in registry.ladder(name)
        ]
        columns = ("rung", "changes", "idea", "takes", "dtypes")
        parts.append(f"### {name}\n\n{table(columns, rows)}")
    return "\n\n".join(parts)


def backend_names() -> str:
    """The backends by name."""
    rows = [(code(name), backends.get(name).summary) for name in backends.names()]
    return table(("name", "what it runs"), rows)


def switches() -> str:
    """Every environment variable that is read."""
    rows = [(code(s.name), s.help, s.unset) for s in config.SWITCHES]
    return table(("variable", "what it sets", "when unset"), rows)


def acceleration() -> str:
    """The public names of `tinytorch.perf.acceleration`; an alias says what it is one of."""
    module = importlib.import_module("tinytorch.perf.acceleration")
    rows = []
    for name in module.__all__:
        value = getattr(module, name)
        says = (inspect.getdoc(value) or "").splitlines()[0]
        alias = value.__name__ != name
        rows.append((code(name), f"the same as {code(value.__name__)}" if alias else says))
    return table(("name", "what it does"), rows)


# ------------------------------------------------------------------------- the command line


def _commands() -> dict[str, click.Command]:
    context = click.Context(cli.tito)
    found = ((name, cli.tito.get_command(context, name)) for name in cli.COMMANDS)
    return {name: command for name, command in found if command is not None}


def _help(command: click.Command) -> tuple[str, list[str]]:
    """Return a command's description, and the examples that its help ends with."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    lines = [
        line.removeprefix("Examples:").removeprefix("Example:").strip()
        for line in examples.splitlines()
    ]
    return text.strip(), [line for line in lines if line]


def _usage(name: str, command: click.Command) -> str:
    words = [f"tito {name}"]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            word = (parameter.name or "").upper() + ("..." if parameter.nargs == -1 else "")
            words.append(word if parameter.required else f"[{word}]")
    return " ".join([*words, "[OPTIONS]"])


def _option(option: click.Option) -> tuple[str, str]:
    value = "" if option.is_flag else f" {option.type.name.upper()}"
    default = f" Default: {option.default}." if option.show_default else ""
    return code(", ".join(option.opts) + value), (option.help or "") + default


def commands() -> str:
    """The commands in a line each."""
    rows = [(code(f"tito {n}"), _help(c)[0].split("\n\n")[0]) for n, c in _commands().items()]
    return table(("command", "what it does"), [(n, " ".join(text.split())) for n, text in rows])


def command_reference() -> str:
    """Every command with its help, its options and its examples."""
    parts = []
    for name, command in _commands().items():
        text, examples = _help(command)
        options = [_option(p) for p in command.params if isinstance(p, click.Option)]
        part = [f"### tito {name}", code(_usage(name, command)), text]
        part += [table(("option", "meaning"), options)] if options else []
        part += ["\n".join(["```sh", *examples, "```"])]
        parts.append("\n\n".join(part))
    return "\n\n".join(parts)


def exit_codes() -> str:
    """What the exit code of every command says, from the module that sets it."""
    line = re.search(r"^Exit codes: (.*)\.$", cli.__doc__ or "", re.MULTILINE)
    if line is None:
        raise InvalidValue("tinytorch.cli.main no longer says what its exit codes mean")
    return table(("exit code", "meaning"), (p.split(" ", 1) for p in line[1].split("; ")))


# ------------------------------------------------------------------------------ the benchmarks


def _page() -> ModuleType:
    """Return benchmarks/page.py, which makes its tables from the results that are kept there."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("page")
    finally:
        sys.path.remove(folder)


BLOCKS: dict[str, Callable[[], str]] = {
    "house": house,
    "op-costs": op_costs,
    "op-tolerances": op_tolerances,
    "ladders": ladders,
    "backends": backend_names,
    "acceleration": acceleration,
    "switches": switches,
    "commands": commands,
    "command-reference": command_reference,
    "exit-codes": exit_codes,
    "benchmark-machine": lambda: str(_page().machine()),
    "benchmark-summary": lambda: str(_page().summary()),
    "benchmark-groups": lambda: str(_page().groups()),
    "benchmark-house": lambda: str(_page().house()),
    "benchmark-others": lambda: str(_page().others()),
}


def regenerate(text: str) -> str:
    """Return a page with every block written anew.

    Raises UnknownName for a block that is not one, InvalidValue where a marker has no partner.
    """

    def fresh(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise UnknownName("generated block", name, BLOCKS)
        return f"{_BEGIN}{name} -->\n{BLOCKS[name]()}\n{_END}"

    found = len(_BLOCK.findall(text))
    if not text.count(_BEGIN) == text.count(_END) == found:
        raise InvalidValue(f"a block needs both '{_BEGIN}NAME -->' and '{_END}', one after another")
    return _BLOCK.sub(fresh, text)


def stale() -> dict[Path, str]:
    """Return the pages whose blocks differ from what the code says now, with their right text."""
    pages = {path: path.read_text(encoding="utf-8") for path in files()}
    fresh = {path: regenerate(text) for path, text in pages.items()}
    return {path: text for path, text in fresh.items() if text != pages[path]}


def main(arguments: Sequence[str]) -> int:
    """Rewrite the stale pages, or with `--check` only name them."""
    if arguments not in ([], ["--check"]):
        print(f"usage: python docs/generate.py [--check]; got {' '.join(arguments)}")
        return 2
    pages = stale()
    for path, text in pages.items():
        if arguments:
            print(f"{path.relative_to(ROOT)} is stale: run `{COMMAND}`")
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path.relative_to(ROOT)} rewritten")
    return int(bool(arguments and pages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
