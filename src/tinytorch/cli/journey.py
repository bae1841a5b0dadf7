"""tito journey: the main job. The whole story, on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click

from tinytorch.cli import (
    cache,
    digits,
    embed,
    ladder,
    learning,
    machine,
    options,
    roofline,
    training,
    tune,
)
from tinytorch.cli.console import Update, progress, say, show, warn
from tinytorch.cli.story import Story
from tinytorch.errors import MissingDependency
from tinytorch.kernels import warm
from tinytorch.measure import ceilings as measured
from tinytorch.measure import charts
from tinytorch.measure import machine as detected
from tinytorch.measure.report import Section, Table, table_of, write_png
from tinytorch.measure.units import bytes_text, interval_text, percent_text, ratio_text
from tinytorch.native import threads

LADDERS = ("matmul", "gelu")
RUNG_SECONDS = 0.4


def _machine(story: Story, update: Update) -> None:
    found = measured.ceilings(progress=update)
    if found.remarks and found.taken_at < story.started_at:
        # What was remembered was taken in doubtful conditions: try again now.
        found = measured.ceilings(remeasure=True, progress=update)
    story.ceilings = found
    seen = detected.detect()
    disturbed = detected.warnings()
    text = tuple(f"Warning: {sentence}." for sentence in disturbed)
    tables = (machine.machine_table(seen), *machine.ceiling_tables(found))
    story.add(
        Section("The machine", text, tables),
        machine=seen.to_dict(),
        ceilings=found.to_dict(),
        warnings=disturbed,
    )


def _loop_order(story: Story, update: Update) -> None:
    update("simulating caches", 0.0)
    data, table = cache.simulate(cache.STORY_SIZE, None)
    story.add(Section("Why loop order matters", cache.EXPLAINED, (table,)), cache=data)


def _compiling(story: Story, update: Update) -> None:
    """Compile all that the journey runs, on all cores: one kernel after another would take longer.

    Nothing is measured meanwhile, and nothing is told of it.
    """
    encoder = ("encoder",) if embed.installed_model() else ()
    names = dict.fromkeys((*LADDERS, *training.kernels(), *encoder))
    warm.warmup(
        tuple(names),
        ("float32",),
        lambda op, done: update(f"once: {op}", done),
        processes=threads.usable_cpus(),
    )


def _ladders(story: Story, update: Update) -> None:
    assert story.ceilings is not None
    tables, bars, data = [], {}, {}
    for i, op in enumerate(LADDERS):
        found = ladder.climb(
            op,
            lambda what, done, i=i: update(what, (i + done) / len(LADDERS)),  # type: ignore[misc]
            seconds=RUNG_SECONDS,
        )
        story.ladders.append(found)
        tables.append(ladder.ladder_table(found, story.ceilings))
        bars[f"{op}: GFLOP/s of each rung"] = ladder.ladder_bars(found)
        data[op] = found.to_dict()
        if found.interrupted:
            break
    text = (
        "Each rung changes one idea of the rung below. It is verified against a float64 reference "
        "before it is timed. Interpreted rungs run at the largest size that they finish in time, "
        "and the table says which; no time is extrapolated.",
    )
    story.add(Section("The ladders", text, tuple(tables), bars), ladders=data)
    if story.ladders[-1].interrupted:
        raise KeyboardInterrupt


def _roofline(story: Story, update: Update) -> None:
    assert story.ceilings is not None
    drawn = {}
    for i, found in enumerate(story.ladders):
        update(f"drawing {found.op}", i / len(story.ladders))
        spec = roofline.roofline_spec(found, story.ceilings)
        write_png(spec, story.folder / f"roofline-{found.op}.png")
        drawn[f"{found.op} under the roofline"] = spec
    tables = tuple(roofline.placement_table(found, story.ceilings) for found in story.ladders)
    text = (
        "A kernel left of a slanted ceiling's end is bound by that level of memory, one under the "
        "flat ceiling by arithmetic. All ceilings were measured here, none was looked up.",
    )
    story.add(Section("The roofline", text, tables, drawn))


def _tuning(story: Story, update: Update) -> None:
    entries = tune.tune_ops(LADDERS, "float32", update, all_variants=False)
    text = (
        "`auto` now knows this machine: for each shape it runs what was measured to be fastest. "
        "The last columns are what that saves against the choice it makes untuned, and against "
        "always using NumPy and its library.",
    )
    table = tune.tuning_table(entries)
    story.add(Section("Tuning", text, (table,)), tuning=[vars(e) for e in entries])


def _digits(story: Story, update: Update) -> None:
    update("nearest neighbours under every backend", 0.1)
    data = digits.load()
    runs = digits.run(data)
    rows = [
        {
            "backend": r.backend,
            "right": f"{r.right} of {r.of}",
            "accuracy": percent_text(r.accuracy),
            "time": interval_text(r.measurement.interval),
            "speed-up over naive": "1" if r.speedup is None else ratio_text(r.speedup),
        }
        for r in runs
    ]
    shape = f"{data.images.shape[0]} test images against {data.known.shape[0]} known ones"
    table = table_of(f"Handwritten digits: {shape}", rows, ["samples taken in turns"])
    same = len({r.right for r in runs}) == 1
    text = (
        "Classification of real handwritten digits by their nearest neighbour, one program over "
        "tinytorch. Not a line of it changes from backend to backend"
        + (", and neither does its accuracy." if same else "; YET ITS ACCURACY DOES."),
    )
    chart = charts.bars(
        [(r.backend, r.measurement.median * 1e3) for r in runs],
        "milliseconds (logarithmic)",
        logarithmic=True,
        marked="auto",
    )
    story.add(
        Section(
            "A real program", text, (table,), {"Time": chart}, {"The program": digits.source()}
        ),
        digits=[
            {"backend": r.backend, "right": r.right, "of": r.of, **r.measurement.to_dict()}
            for r in runs
        ],
    )


# What is told, in order.
PARTS: tuple[tuple[str, Callable[[Story, Update], None]], ...] = (
    ("the machine", _machine),
    ("loop order", _loop_order),
    ("compiling", _compiling),
    ("the ladders", _ladders),
    ("the roofline", _roofline),
    ("tuning", _tuning),
    ("a real program", _digits),
    ("networks that learn", learning.networks),
    ("a language model", learning.language_model),
    ("a pretrained model", learning.pretrained),
)


def tell(story: Story, on_part: Callable[[Section], None]) -> list[str]:
    """Run every part, hand each section on as it is done, and return what had to be left out.

    Ctrl-C ends the story early: KeyboardInterrupt is raised after what was found is written.
    """
    left_out = []
    for i, (name, part) in enumerate(PARTS, 1):
        told = len(story.sections)
        try:
            with progress(f"[{i}/{len(PARTS)}] {name}") as update:
                part(story, update)
        except MissingDependency as error:
            left_out.append(f"{name}: {error}")
        finally:
            for section in story.sections[told:]:
                on_part(section)
    return left_out


@click.command()
@click.option(
    "--output",
    default="tinytorch-report",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.",
)
@options.threads
@options.as_json
def journey(output: Path, as_json: bool) -> int:
    """Tell the whole story on this machine, as an HTML report.

    What the machine could do, what each rung of the ladders does, why, what `auto` learns from
    it, a real program made fast without changing a line, networks that learn, and a pretrained
    transformer where it is installed (`make model`). The data are kept as JSON beside the page.
    Takes two minutes, and one more to compile the first time; Ctrl-C keeps what was measured.

    \b
    Example: tito journey --output reports
    """
    start = time.perf_counter()
    story = Story(output)
    output.mkdir(parents=True, exist_ok=True)

    def on_part(section: Section) -> None:
        if not as_json:
            say("", f"== {section.title}", *section.text)
            show(*(_without_wide_columns(table) for table in section.tables))

    try:
        left_out = tell(story, on_part)
    except KeyboardInterrupt:
        if story.sections:
            story.interrupted = True
            story.write()
            warn(f"interrupted: {len(story.sections)} parts are kept in {story.page}")
        else:
            warn("interrupted before anything was measured")
        return 3
    for reason in left_out:
        warn(f"left out, {reason}")
    if as_json:
        say(json.dumps(story.data, indent=1, default=str))
    else:
        size = bytes_text(story.page.stat().st_size)
        say("", f"Done in {time.perf_counter() - start:.0f} s. The report: {story.page} ({size})")
    return 0


def _without_wide_columns(table: Table) -> Table:
    """Return a table as a terminal has room for it; the report keeps every column."""
    dropped = {"first call", "idea"}
    kept = [i for i, column in enumerate(table.columns) if column not in dropped]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return Table(table.title, tuple(table.columns[i] for i in kept), rows, table.notes)
