"""Measurement and Environment: immutable, and able to say where they came from."""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from tinytorch.errors import InvalidValue
from tinytorch.measure.stats import Criticism, Interval, criticise, median_interval

SCHEMA = "tinytorch.measurement/1"


@dataclass(frozen=True)
class Environment:
    """The machine and the moment a sample was taken in."""

    fingerprint: str
    cpu_model: str
    isa: str
    usable_cpus: int
    threads: int
    blas: str
    versions: Mapping[str, str]
    os: str
    load: float | None
    taken_at: str

    @classmethod
    def now(cls) -> Environment:
        """Describe this machine at this moment."""
        from tinytorch.measure import machine
        from tinytorch.native import threads

        seen = machine.detect()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return cls(
            fingerprint=machine.fingerprint(),
            cpu_model=seen.cpu_model,
            isa=seen.isa,
            usable_cpus=seen.usable_cpus,
            threads=threads.get_num_threads(),
            blas=seen.blas_text,
            versions=dict(seen.versions),
            os=seen.os,
            load=load,
            taken_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )


@dataclass(frozen=True)
class Measurement:
    """Seconds per call, one number a sample, with everything needed to judge them.

    `loops` calls make a sample. `first_call_seconds` is the very first call, which may compile;
    it is never among the samples. `stopped` says why sampling ended: `interval` (narrow enough),
    `stalled` (no longer narrowing), `budget` (time spent) or `interrupted`.
    """

    name: str
    seconds: tuple[float, ...]
    loops: int
    warmups: int
    first_call_seconds: float
    cache: str
    stopped: str
    environment: Environment
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def interval(self) -> Interval:
        """The median seconds per call, with its interval."""
        return median_interval(self.seconds)

    @property
    def median(self) -> float:
        """The median seconds per call."""
        return self.interval.median

    @property
    def criticisms(self) -> tuple[Criticism, ...]:
        """What makes this measurement shaky; empty when nothing does."""
        return criticise(self.seconds, self.median * self.loops)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the schema's name and the derived numbers beside the samples."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "interval": self.interval.to_dict(),
            "criticisms": [asdict(c) for c in self.criticisms],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """Rebuild a measurement from `to_dict`'s data; another schema is refused."""
        if data.get("schema") != SCHEMA:
            raise InvalidValue(
                f"expected a measurement of schema {SCHEMA!r}, got {data.get('schema')!r}: "
                "measure again with this version"
            )
        kept = {k: v for k, v in data.items() if k not in ("schema", "interval", "criticisms")}
        kept["seconds"] = tuple(kept["seconds"])
        kept["environment"] = Environment(**kept["environment"])
        return cls(**kept)


def _full_name(measurement: Measurement) -> str:
    """Return a name that tells a rung's measurements apart: `matmul library 256 float32`."""
    known = {"name": measurement.name, **measurement.metadata}
    parts = (known.get(key) for key in ("op", "name", "size", "dtype"))
    return " ".join(str(part) for part in parts if part)


def to_pyperf(measurements: list[Measurement]) -> str:
    """Return JSON that `pyperf show`, `pyperf stats` and `pyperf compare_to` read.

    One benchmark a measurement, one run each; names and metadata follow pyperf's format 1.0.
    """
    benchmarks = []
    seen: Counter[str] = Counter()
    for m in measurements:
        name = _full_name(m)
        seen[name] += 1  # pyperf refuses a file with one name twice
        metadata = {
            "name": name if seen[name] == 1 else f"{name} #{seen[name]}",
            "unit": "second",
            "loops": m.loops,
            "cpu_model_name": m.environment.cpu_model,
            "date": m.environment.taken_at.replace("T", " ").removesuffix("+00:00"),
        }
        run = {"metadata": {}, "values": list(m.seconds)}
        benchmarks.append({"metadata": metadata, "runs": [run]})
    return json.dumps({"version": "1.0", "benchmarks": benchmarks})
