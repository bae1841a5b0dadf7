"""The parts of the journey that learn: networks, a language model, and one that has learned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch import backends, hub
from tinytorch.cli import embed, training
from tinytorch.cli.console import Update, sparkline
from tinytorch.cli.story import Story
from tinytorch.errors import MissingDependency
from tinytorch.measure import charts
from tinytorch.measure.clock import Effort, measure
from tinytorch.measure.report import Section, table_of
from tinytorch.measure.units import interval_text, percent_text

NAIVE_SECONDS = 2.0


def _smooth(losses: list[float], points: int = 100) -> list[tuple[float, float]]:
    """Return (step, mean loss of the steps up to it) for at most `points` steps."""
    stride = max(1, len(losses) // points)
    return [
        (float(min(i + stride, len(losses))), float(np.mean(losses[i : i + stride])))
        for i in range(0, len(losses), stride)
    ]


def _curve(trained: Iterable[training.Trained]) -> Any:
    rows = [
        (f"{t.network}, {t.backend}", step, loss)
        for t in trained
        for step, loss in _smooth(t.losses)
    ]
    return charts.lines(rows, "step", "loss", log_x=False, log_y=False, dots=False)


def _drawn_as_it_goes(update: Update, name: str, part: int, parts: int) -> training.OnStep:
    """Return what shows a training's loss as a curve, every so many of its steps."""

    def on_step(of: int, losses: list[float]) -> None:
        done = len(losses)
        if done % max(1, of // 8) == 0 or done == of:
            what = f"{name}: step {done} of {of}, loss {losses[-1]:.2f} {sparkline(losses)}"
            update(what, (part + done / of) / parts)

    return on_step


def networks(story: Story, update: Update) -> None:
    """Train an MLP and a CNN on the digits under three backends."""
    asked = [
        (network, backend, NAIVE_SECONDS if backend == "naive" else None)
        for network in training.NETWORKS
        for backend in ("naive", "numpy", "auto")
    ]
    found = []
    for i, (network, backend, seconds) in enumerate(asked):
        show = _drawn_as_it_goes(update, f"{network} under {backend}", i, len(asked))
        found.append(training.train_digits(network, backend, show, seconds))
    rows = [
        {
            "network": t.network,
            "backend": t.backend,
            "steps": f"{len(t.losses)} of {t.of}",
            "loss, first": f"{t.losses[0]:.4f}",
            "loss, last": f"{t.losses[-1]:.4f}",
            "accuracy": "-" if t.accuracy is None else percent_text(t.accuracy),
            "seconds": f"{t.seconds:.1f}",
            "steps a second": f"{t.steps_per_s:.3g}",
        }
        for t in found
    ]
    notes = [
        f"naive is given {NAIVE_SECONDS:.0f} s, and then stopped: its steps are too slow for all",
        "auto's seconds hold the loading of its compiled code",
    ]
    text = (
        "Training now: forward, loss, backward and Adam's update, on nine tenths of the digits; "
        "the accuracy is that on the tenth that was held out. The program, the seed and the "
        "order of the data are the same under each backend, so the losses are the same too, but "
        "for rounding.",
    )
    story.add(
        Section(
            "Networks that learn",
            text,
            (table_of("Trained on handwritten digits", rows, notes),),
            {"Loss, step by step": _curve(t for t in found if t.backend != "naive")},
            {"The networks": training.source()},
        ),
        networks=[{**vars(t), "steps": len(t.losses)} for t in found],
    )


PROMPT = "def "


def language_model(story: Story, update: Update) -> None:
    """Train a GPT on Python's own source, and have it write some."""
    draw = _drawn_as_it_goes(update, "GPT", 0, 1)

    with backends.use_backend("auto"):
        author = training.train_gpt(draw)
        written = author.write(PROMPT, 200)
    trained = author.trained
    text = (
        f"A GPT of {training.count(author.model):,} numbers reads Python's own source, character "
        f"by character: {len(trained.losses)} steps of {training.GPT_BATCH} pieces, "
        f"{training.LENGTH} characters each, in {trained.seconds:.0f} s under `auto`. Its loss "
        f"fell from {trained.losses[0]:.2f} (guessing among all characters: "
        f"{author.guessing:.2f}) to {np.mean(trained.losses[-20:]):.2f}. `naive` takes no part "
        "here: not one of its steps would end in the time of this whole journey's training.",
    )
    story.add(
        Section(
            "A language model",
            text,
            (),
            {"Loss, step by step": _curve([trained])},
            {"What it writes": written},
        ),
        gpt={**vars(trained), "written": written},
    )


SENTENCES = (
    "The cat sleeps on the warm windowsill.",
    "A kitten is napping in the sun.",
    "Matrix products dominate the time of training.",
    "Most of a network's arithmetic is multiplying matrices.",
    "The bank raised its interest rates again.",
    "Loans will become more expensive, said the lender.",
    "We sat down on the bank of the river.",
    "Our picnic was by the water's edge.",
)


def pretrained(story: Story, update: Update) -> None:
    """Embed sentences, where a pretrained model is installed; else raise MissingDependency."""
    folder = embed.installed_model()
    if folder is None:
        raise MissingDependency(
            "the model", "the last part, a pretrained transformer", "make model"
        )
    update("loading", 0.2)
    encoder = hub.load(folder)
    update("embedding", 0.6)
    vectors = encoder.embed(list(SENTENCES))
    taken = measure(lambda: encoder.embed(list(SENTENCES)), "embed", effort=Effort(seconds=1.0))
    likeness = vectors @ vectors.T - 2 * np.eye(len(vectors), dtype=vectors.dtype)
    nearest = likeness.argmax(axis=1)
    rows = [
        {"sentence": sentence, "nearest in meaning": SENTENCES[j], "cosine": f"{row[j]:.3f}"}
        for sentence, j, row in zip(SENTENCES, nearest, likeness, strict=True)
    ]
    table = table_of("Sentences by their embeddings", rows, [])
    text = (
        f"all-MiniLM-L6-v2, a pretrained transformer of six layers, turns each sentence into "
        f"{vectors.shape[1]} numbers; all {len(SENTENCES)} take {interval_text(taken.interval)}. "
        "What is alike in meaning lies close together, whatever its words.",
    )
    story.add(
        Section("A pretrained model", text, (table,)),
        pretrained={"sentences": SENTENCES, "nearest": nearest.tolist(), **taken.to_dict()},
    )
