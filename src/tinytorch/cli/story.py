"""What the journey has found so far, and the page that it is told on."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinytorch import __version__
from tinytorch.files import write_whole
from tinytorch.measure import machine as detected
from tinytorch.measure.ceilings import Ceilings
from tinytorch.measure.report import Report, Section

SCHEMA = "tinytorch.journey/1"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class Story:
    """What has been found so far; it is written after every part, so a kill loses only one."""

    folder: Path
    started_at: str = field(default_factory=_now)
    sections: list[Section] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    ceilings: Ceilings | None = None
    ladders: list[Any] = field(default_factory=list)

    def add(self, section: Section, **data: Any) -> None:
        """Keep a part, and write everything so far."""
        self.sections.append(section)
        self.data.update(data)
        self.write()

    @property
    def page(self) -> Path:
        """The report's file."""
        return self.folder / "journey.html"

    def write(self) -> None:
        """Write the page and the data, each in one step."""
        taken = time.strftime("%Y-%m-%d %H:%M")
        where = f"{detected.detect().cpu_model}, {taken}, tinytorch {__version__}"
        if self.interrupted:
            where += " (interrupted: what had been measured is here)"
        Report("A journey to the roof of this machine", where, tuple(self.sections)).write(
            self.page
        )
        text = json.dumps(
            {"schema": SCHEMA, "interrupted": self.interrupted, **self.data}, indent=1, default=str
        )
        write_whole(self.folder / "journey.json", text)
