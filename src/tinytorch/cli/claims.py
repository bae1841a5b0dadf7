"""tito claims."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tinytorch.cli import options
from tinytorch.cli.console import emit, progress, say
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.files import write_whole
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.sample import Environment
from tinytorch.perf.claims import CLAIMS, Judged, judge

BEGIN, END = "<!-- measured by: tito claims --write docs/claims.md -->", "<!-- measured end -->"


def claim_table(judged: list[Judged]) -> Table:
    """Return what was told, what was measured, and the verdict."""
    rows = [
        {
            "told": one.claim.told,
            "measured here": one.measured_text,
            "verdict": one.verdict,
            "why": one.why,
        }
        for one in judged
    ]
    here = Environment.now()
    return table_of(
        "claims, measured", rows, [f"{here.cpu_model}, {here.threads} threads; {here.taken_at}"]
    )


def as_markdown(judged: list[Judged]) -> str:
    """Return the table as Markdown, with the machine above it."""
    table = claim_table(judged)
    lines = [*table.notes, "", f"| {' | '.join(table.columns)} |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.rows]
    return "\n".join(lines)


def rewritten(page: str, judged: list[Judged]) -> str:
    """Return a page with its measured block written anew; raises InvalidValue without one."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise InvalidValue(f"the page needs one block from '{BEGIN}' to '{END}'")
    return pattern.sub(lambda _: f"{BEGIN}\n{as_markdown(judged)}\n{END}", page)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seconds", default=0.5, show_default=True, help="Time for each comparison.")
@click.option("--write", default=None, type=click.Path(path_type=Path), help="Page to rewrite.")
@options.threads
@options.as_json
def claims(names: tuple[str, ...], seconds: float, write: Path | None, as_json: bool) -> None:
    """Measure what the sources claim (or only NAMES), and say what holds on this machine.

    \b
    Examples:
      tito claims
      tito claims naive-1000 int8-8
      tito claims --write docs/claims.md
    """
    known = {claim.name: claim for claim in CLAIMS}
    for name in names:
        if name not in known:
            raise UnknownName("claim", name, known)
    chosen = [known[name] for name in names] or list(CLAIMS)
    if write is not None and names:
        raise InvalidValue("a page is written with all claims: leave the names out")
    judged = []
    with progress("claims") as update:
        for i, claim in enumerate(chosen):
            update(claim.name, i / len(chosen))
            judged.append(judge(claim, seconds))
    emit([one.to_dict() for one in judged], [claim_table(judged)], as_json)
    if write is not None:
        write_whole(write, rewritten(write.read_text(encoding="utf-8"), judged))
        say(f"written: {write}")
