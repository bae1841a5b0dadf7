"""The pages are true: tables are fresh, examples run, commands parse, links lead somewhere.

A Python block is run as it stands; the blocks of one page share a namespace, in a fresh process and
an empty folder. A block that starts with `# file: NAME` is written to that file instead; where NAME
lies in src/tinytorch, the page gets a copy of the package to add it to.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from tinytorch import ops
from tinytorch.cli import main as cli
from tinytorch.errors import InvalidValue, UnknownName

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / f"{n}.md" for n in ("README", "CHANGELOG", "CONTRIBUTING")] + sorted(
    (ROOT / "docs").glob("*.md")
)
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# file: (?P<name>\S+)\n")
on_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Return a page without its code blocks and its generated parts."""
    text = re.sub(r"<!-- generated: .*?<!-- end -->", "", text, flags=re.DOTALL)
    return FENCE.sub("", text)


# ------------------------------------------------------------------------------ generated tables


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_tables_are_fresh(generate: ModuleType) -> None:
    names = [str(path.relative_to(ROOT)) for path in generate.stale()]
    assert not names, f"{', '.join(names)} out of date: run `{generate.COMMAND}`"


def test_every_generated_table_is_shown_somewhere(generate: ModuleType) -> None:
    shown = set(re.findall(r"<!-- generated: ([\w-]+) -->", "".join(map(read, PAGES))))
    assert shown == set(generate.BLOCKS)


def test_a_stale_table_is_written_anew(generate: ModuleType) -> None:
    page = "before\n<!-- generated: exit-codes -->\nold\n<!-- end -->\nafter\n"
    fresh = generate.regenerate(page)
    assert "old" not in fresh
    assert "bad usage" in fresh
    assert fresh.startswith("before\n<!-- generated: exit-codes -->\n")
    assert fresh.endswith("<!-- end -->\nafter\n")
    assert generate.regenerate(fresh) == fresh


def test_an_unknown_table_and_a_lost_marker_are_refused(generate: ModuleType) -> None:
    with pytest.raises(UnknownName, match="'ladders'"):
        generate.regenerate("<!-- generated: laders -->\n<!-- end -->")
    with pytest.raises(InvalidValue, match="needs both"):
        generate.regenerate("<!-- generated: ladders -->\nno end")


def test_a_bar_in_a_cell_does_not_end_it(generate: ModuleType) -> None:
    assert generate.table(("a",), [("|x|",)]).splitlines()[-1] == r"| \|x\| |"


# ------------------------------------------------------------------------------ Python examples


def python_blocks(text: str) -> Iterator[re.Match[str]]:
    return (block for block in FENCE.finditer(text) if block["language"] == "python")


def program(text: str) -> str:
    """Return a page's Python, each line at the number that it has in the page."""
    lines = [""] * (text.count("\n") + 1)
    for block in python_blocks(text):
        if not FILE.match(block["body"]):
            body = block["body"].splitlines()
            first = text.count("\n", 0, block.start("body"))
            lines[first : first + len(body)] = body
    return "\n".join(lines)


def files_of(text: str) -> dict[str, str]:
    """Return the files that a page tells its reader to write."""
    bodies = [block["body"] for block in python_blocks(text)]
    return {found["name"]: body for body in bodies if (found := FILE.match(body))}


def run_page(text: str, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page's Python in a folder of its own."""
    environment = dict(os.environ)
    written = files_of(text)
    if any(path.startswith("src/tinytorch/") for path in written):
        package = folder / "src/tinytorch"
        shutil.copytree(
            ROOT / "src/tinytorch", package, ignore=shutil.ignore_patterns("__pycache__")
        )
        environment["PYTHONPATH"] = str(folder / "src")
        environment["TINYTORCH_CACHE_DIR"] = str(folder / "cache")
    for path, body in written.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(body, encoding="utf-8")
    script = folder / f"{name}.md.py"
    script.write_text(program(text), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(python_blocks(read(p)))], ids=lambda p: p.stem
)
def test_python_examples_run(page: Path, tmp_path: Path) -> None:
    done = run_page(read(page), page.stem, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_wrong_example_fails_at_its_line(tmp_path: Path) -> None:
    page = "text\n```python\n# file: two.py\ntwo = 2\n```\n```python\nimport two\n```\nmore\n"
    done = run_page(page + "```python\nassert two.two == 3\n```\n", "page", tmp_path)
    assert done.returncode == 1
    assert "line 11" in done.stderr


def test_the_readme_tour_is_short() -> None:
    tour, *_ = python_blocks(read(ROOT / "README.md"))
    assert len(tour["body"].splitlines()) <= 20


# ------------------------------------------------------------------------------ commands shown


def commands_shown(text: str) -> Iterator[str]:
    """Yield every `tito` and `make` command line of a page's shell blocks and code spans."""
    for block in FENCE.finditer(text):
        if block["language"] in ("sh", "bash", "console"):
            yield from (line.removeprefix("$ ") for line in block["body"].splitlines())
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        # Reference headings show a command's own usage line, which is no command line.
        if not span.endswith("[OPTIONS]"):
            yield span


def check_tito(line: str, known_ops: set[str]) -> None:
    """Raise a ClickException or an UnknownName unless the line's command and options exist."""
    words = shlex.split(line, comments=True)[1:]
    if not words or words[0].startswith("-"):
        return
    context = click.Context(cli.tito, info_name="tito")
    command = cli.tito.get_command(context, words[0])
    assert command is not None
    settings = command.context_settings
    inner = click.Context(command, info_name=words[0], parent=context, **settings)
    values, extra, _ = command.make_parser(inner).parse_args(words[1:])
    if extra:
        raise click.UsageError(f"{line!r}: nothing takes {' '.join(extra)!r}")
    # A page may name a command alone; with words after it, the words must do.
    for parameter in command.params if words[1:] else ():
        # NOTE: what stands for "not given" differs between versions of click.
        if parameter.required and not isinstance(values.get(parameter.name or ""), str):
            raise click.UsageError(f"{line!r}: {parameter.name} is missing")
    named = values.get("op")
    for op in [named] if isinstance(named, str) else named if isinstance(named, tuple) else ():
        # Words in capitals stand for any op.
        if op not in known_ops and not op.isupper():
            raise UnknownName("op", op, known_ops)


def check_make(line: str) -> None:
    targets = re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.MULTILINE)
    for word in shlex.split(line, comments=True)[1:]:
        if "=" not in word and word not in targets:
            raise UnknownName("make target", word, targets)


@on_every_page
def test_commands_shown_exist(page: Path) -> None:
    text = read(page)
    added = {Path(path).stem for path in files_of(text) if "/ops/" in path}
    for line in commands_shown(text):
        if line.startswith("tito "):
            check_tito(line, {*ops.names(), *added})
        elif line.startswith("make "):
            check_make(line)


@pytest.mark.parametrize(
    "line",
    [
        "tito laddder matmul",
        "tito ladder matmull",
        "tito ladder matmul --sizes 64",
        "tito ladder matmul gelu",
        "tito compare matmul/blocked",
        "tito tune matmul geluu",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises((click.ClickException, UnknownName)):
        check_tito(line, set(ops.names()))


@pytest.mark.parametrize(
    "line",
    [
        "tito",
        "tito --version",
        "tito tune",
        "tito ladder OP",
        "tito ladder matmul --size 64  # a comment",
        "tito tune matmul gelu --threads 1",
    ],
)
def test_a_command_that_exists_is_let_through(line: str) -> None:
    check_tito(line, set(ops.names()))


def test_an_unknown_make_target_is_found() -> None:
    check_make("make PYTHON=python3.12 test")
    with pytest.raises(UnknownName, match="journey"):
        check_make("make jurney")


# ------------------------------------------------------------------------------ links and paths


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    return broken


@on_every_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert not broken_links(page)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](page.md) [b](#a-head) [c](no.md) [d](#no) [e](https://x.y)")
    assert broken_links(page) == ["no.md", "#no"]


REPOSITORY_PATH = re.compile(r"(?<![\w./])(?:tests|docs|examples|benchmarks|src)/[\w./-]*\w")


@on_every_page
def test_files_named_are_there(page: Path) -> None:
    text = read(page)
    added = files_of(text)
    named = {path for path in REPOSITORY_PATH.findall(text) if path not in added}
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


MACHINE_PATH = re.compile(
    r"(?<![\w.~/])/(?:home|root|Users|tmp|opt|mnt|srv|var|usr|work|private)/|\b[A-Z]:\\"
)


@on_every_page
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    assert not MACHINE_PATH.findall(read(page))


def test_a_path_of_one_machine_is_found() -> None:
    assert MACHINE_PATH.search("see /home/me/x") and MACHINE_PATH.search(r"C:\me")
    assert not MACHINE_PATH.search("matmul/library https://a.b/usr/x src/tinytorch/home/")


# A time, a rate or a factor that someone typed: such figures hold on one machine only.
SPEED = re.compile(r"\d\s?(?:[munµ]s|[GT]FLOPS?(?:/s)?|GB/s)\b|\d\s?x (?:faster|slower)")


@pytest.mark.parametrize("name", ["README.md", "docs/tour.md", "docs/adding.md"])
def test_speeds_are_measured_not_told(name: str) -> None:
    assert not SPEED.findall(prose(read(ROOT / name)))


def test_a_speed_that_is_told_is_found() -> None:
    assert all(map(SPEED.search, ("in 4.48 ms", "215 GFLOPS", "50 GB/s", "10x slower")))
    assert not SPEED.search("2 ms_per 16 passes, 3 x 3")
