"""Measured ceilings: peak FLOP/s per data type, bandwidth and latency per memory level.

Bandwidths count the bytes a program asks for (McCalpin's STREAM convention): 16 a float64 element
for a copy, 24 for a triad. A cache that first reads the line it is about to write moves a third
more for a triad; that figure is given beside it, under its own name.

Working sets are half of each level, and four times the last level for DRAM. With several threads a
level counts once for each set of CPUs that share one.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinytorch import config
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.files import write_whole
from tinytorch.measure import caches, machine
from tinytorch.measure.stats import median_interval
from tinytorch.native import threads
from tinytorch.native.sources import source_hash

if TYPE_CHECKING:  # it loads Numba
    from tinytorch.measure import probes

SCHEMA = "tinytorch.ceilings/1"
DTYPES = ("float32", "float64")
Pattern = Literal["read", "copy", "triad", "triad_nontemporal"]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Figure:
    """The median of repeated samples, with the bounds of its 95 % interval."""

    median: float
    low: float
    high: float
    samples: int

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.median <= self.high < math.inf:
            raise InvalidValue(f"a figure must be positive, within its bounds, got {self}")

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Summarise samples; fewer than six can't hold 95 %, and give their extremes."""
        interval = median_interval(values)
        return cls(interval.median, interval.low, interval.high, len(values))

    def times(self, factor: float) -> Figure:
        """Return the figure in another unit."""
        return Figure(self.median * factor, self.low * factor, self.high * factor, self.samples)


@dataclass(frozen=True)
class LevelCeiling:
    """What one memory level gives, in GB/s (1e9 bytes) and ns; `_all` is all threads together.

    `size_bytes` is None for DRAM, `shared_by` where it can't be read. Working sets are totals over
    the threads. Latency is of dependent loads at random lines, address translation included.
    """

    name: str
    size_bytes: int | None
    shared_by: int | None
    working_set_bytes: int
    working_set_bytes_all: int
    read_gb_per_s: Figure
    read_gb_per_s_all: Figure
    copy_gb_per_s: Figure
    copy_gb_per_s_all: Figure
    triad_gb_per_s: Figure
    triad_gb_per_s_all: Figure
    latency_ns: Figure
    triad_nontemporal_gb_per_s: Figure | None = None
    triad_nontemporal_gb_per_s_all: Figure | None = None

    @property
    def triad_write_allocate_gb_per_s(self) -> Figure:
        """The triad of one thread, counting the read of each line that is written: 32 B for 24."""
        return self.triad_gb_per_s.times(4 / 3)

    @property
    def triad_write_allocate_gb_per_s_all(self) -> Figure:
        """The triad of all threads, counting the read of each line that is written: 32 B for 24."""
        return self.triad_gb_per_s_all.times(4 / 3)

    def capacity_bytes(self, threads: int) -> float:
        """Return how much `threads` threads can keep in this level together."""
        if self.size_bytes is None:
            return math.inf
        return self.size_bytes * caches.instances(threads, self.shared_by)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the derived figures included."""
        return {
            **asdict(self),
            "triad_write_allocate_gb_per_s": asdict(self.triad_write_allocate_gb_per_s),
            "triad_write_allocate_gb_per_s_all": asdict(self.triad_write_allocate_gb_per_s_all),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LevelCeiling:
        """Rebuild a level from `to_dict`'s data."""
        kept: dict[str, Any] = {
            k: Figure(**v) if isinstance(v, dict) else v
            for k, v in data.items()
            if "write_allocate" not in k
        }
        return cls(**kept)


@dataclass(frozen=True)
class Ceilings:
    """Every ceiling of one machine at one thread count, and the hash of the `method` that took it.

    `gflops_per_s[dtype][threads]` holds 1 thread and `threads` threads; `levels` goes from the
    nearest to DRAM. `remarks` says what was seen that makes a figure doubtful.
    """

    fingerprint: str
    method: str
    threads: int
    gflops_per_s: Mapping[str, Mapping[int, Figure]]
    levels: tuple[LevelCeiling, ...]
    remarks: tuple[str, ...]
    quick: bool
    seconds: float
    taken_at: str

    def peak_flops_per_s(self, dtype: object, threads: int = 1) -> float:
        """Return the most FLOP/s that 1 or all threads reach for 'float32' or 'float64'.

        Raises UnknownName for another dtype, InvalidValue for another number of threads.
        """
        name = getattr(dtype, "__name__", str(dtype))
        if name not in self.gflops_per_s:
            raise UnknownName("data type of a measured peak", name, self.gflops_per_s)
        self._check(threads)
        return self.gflops_per_s[name][threads].median * 1e9

    def level_for(self, working_set_bytes: float, threads: int = 1) -> LevelCeiling:
        """Return the nearest level that holds a working set, DRAM where none does."""
        fits = (v for v in self.levels if working_set_bytes <= v.capacity_bytes(threads))
        return next(fits)

    def level(self, name: str) -> LevelCeiling:
        """Return a level by name: 'L1', 'L2', ..., 'DRAM'; raises UnknownName."""
        named = {v.name: v for v in self.levels}
        if name not in named:
            raise UnknownName("memory level", name, named)
        return named[name]

    def bandwidth_bytes_per_s(
        self, where: str | float, threads: int = 1, pattern: Pattern = "copy"
    ) -> float:
        """Return the bytes a second that a level sustains for 1 or all threads.

        `where` is a level's name, or a working set in bytes. The default pattern, one read for one
        write, is the ceiling to hold an elementwise kernel against; a kernel that mostly reads, or
        that stores past the cache, can exceed it in DRAM. Raises UnknownName or InvalidValue for
        what was not measured.
        """
        self._check(threads)
        level = self.level(where) if isinstance(where, str) else self.level_for(where, threads)
        suffix = "_all" if threads > 1 else ""
        figure = getattr(level, f"{pattern}_gb_per_s{suffix}", None)
        if not isinstance(figure, Figure):
            raise InvalidValue(f"the pattern {pattern!r} was not measured in {level.name}")
        return figure.median * 1e9

    def _check(self, threads: int) -> None:
        if threads not in (1, self.threads):
            raise InvalidValue(
                f"ceilings were measured for 1 and {self.threads} threads, not {threads}: "
                "set the number of threads and call ceilings() again"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the schema's name; JSON makes thread counts strings."""
        peaks = {d: {n: asdict(f) for n, f in by.items()} for d, by in self.gflops_per_s.items()}
        return {
            "schema": SCHEMA,
            **vars(self),
            "gflops_per_s": peaks,
            "levels": [level.to_dict() for level in self.levels],
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ceilings:
        """Rebuild ceilings from `to_dict`'s data; another schema is refused."""
        if data.get("schema") != SCHEMA:
            raise InvalidValue(
                f"expected ceilings of schema {SCHEMA!r}, got {data.get('schema')!r}"
            )
        kept = {k: v for k, v in data.items() if k != "schema"}
        kept["gflops_per_s"] = {
            d: {int(n): Figure(**f) for n, f in by.items()}
            for d, by in data["gflops_per_s"].items()
        }
        kept["levels"] = tuple(LevelCeiling.from_dict(level) for level in data["levels"])
        kept["remarks"] = tuple(data["remarks"])
        return cls(**kept)


# ----------------------------------------------------------------------------------- measuring

_FULL_SECONDS, _QUICK_SECONDS = 9.0, 3.0
_FULL_SAMPLE_SECONDS, _QUICK_SAMPLE_SECONDS = 5e-3, 3e-3
# A figure may be this much above that of a nearer level before it is remarked upon.
_NOISE = 1.15
# Each thread should add at least this share of what one thread reaches.
_LEAST_GAIN = 0.7


def _measure_level(
    place: probes.Place, budget: probes.Budget, on_round: Callable[[float], None]
) -> LevelCeiling:
    from tinytorch.measure import probes

    sizes = place.bytes_by_threads
    warm = place.cache is not None
    chosen = [probes.latency_probe(sizes[1], place.line_bytes, warm)]
    for count, size in sizes.items():
        chosen += probes.stream_probes(count, size, warm)
    if place.cache:
        chosen = [probe for probe in chosen if probe.name != "triad_nontemporal"]
    rates = probes.sample_rates(chosen, budget, on_round)
    most = max(sizes)
    figures: dict[str, Any] = {}
    for name, count in rates:
        if name != "latency":
            figure = Figure.of([rate / 1e9 for rate in rates[name, count]])
            if count == 1:
                figures[f"{name}_gb_per_s"] = figure
            if count == most:
                figures[f"{name}_gb_per_s_all"] = figure
    return LevelCeiling(
        name=place.name,
        size_bytes=place.cache.size_bytes if place.cache else None,
        shared_by=place.cache.shared_by if place.cache else None,
        working_set_bytes=sizes[1],
        working_set_bytes_all=sizes[most],
        latency_ns=Figure.of([1e9 / rate for rate in rates["latency", 1]]),
        **figures,
    )


def _disorder(levels: Sequence[LevelCeiling]) -> list[str]:
    """Say where a level seems faster than the one before it: a sign of noise or of wrong sizes."""
    found = []
    for near, far in itertools.pairwise(levels):
        for what, n, f in (
            ("reads faster", near.read_gb_per_s, far.read_gb_per_s),
            ("reads faster with all threads", near.read_gb_per_s_all, far.read_gb_per_s_all),
            ("answers sooner", far.latency_ns, near.latency_ns),
        ):
            if f.median > _NOISE * n.median:
                found.append(
                    f"{far.name} {what} than {near.name}, which can't be: the machine was busy, or "
                    "tells wrong cache sizes; measure again"
                )
    return found


def _idle_threads(peaks: Mapping[str, Mapping[int, Figure]]) -> list[str]:
    """Say where all threads together hardly compute more than one."""
    found = []
    for dtype, by_threads in peaks.items():
        most = max(by_threads)
        gain = by_threads[most].median / by_threads[1].median
        if most > 1 and gain < _LEAST_GAIN * most:
            found.append(
                f"{most} threads reached {gain:.1f} times the {dtype} peak of one: other programs "
                "kept the CPUs busy, or pairs of them are one core; measure again when it is quiet"
            )
    return found


@functools.cache
def method() -> str:
    """Return a hash of the sources that measure: figures of others don't compare with ours."""
    here = Path(__file__).parent
    return source_hash([here / "microkernels.py", here / "probes.py"])


def measure_ceilings(progress: Progress | None = None, quick: bool = False) -> Ceilings:
    """Measure every ceiling now, for one thread and for as many as are in use: about 10 s.

    `quick` takes about a third of the time and gives wider intervals. `progress` is called with
    what is being measured and the share done, 0 to 1. Raises MeasurementError for a rate that no
    CPU has, which means that a loop did not run.
    """
    from tinytorch.measure import probes

    before, start = machine.activity(), time.perf_counter()
    counts = sorted({1, threads.get_num_threads()})
    places, remarks = probes.places(machine.detect().data_caches, counts)
    parts = len(places) + 1
    budget = probes.Budget(
        seconds=(_QUICK_SECONDS if quick else _FULL_SECONDS) / parts,
        sample_seconds=_QUICK_SAMPLE_SECONDS if quick else _FULL_SAMPLE_SECONDS,
    )

    def report(part: int, what: str, share: float) -> None:
        if progress:
            progress(what, (part + share) / parts)

    report(0, "peak FLOP/s", 0.0)
    rates = probes.sample_rates(
        probes.peak_probes(DTYPES, counts), budget, functools.partial(report, 0, "peak FLOP/s")
    )
    levels = []
    for part, place in enumerate(places, 1):
        report(part, place.name, 0.0)
        levels.append(_measure_level(place, budget, functools.partial(report, part, place.name)))
    peaks = {d: {n: Figure.of([r / 1e9 for r in rates[d, n]]) for n in counts} for d in DTYPES}
    remarks += [*_disorder(levels), *_idle_threads(peaks), *machine.warnings(since=before)]
    return Ceilings(
        fingerprint=machine.fingerprint(),
        method=method(),
        threads=counts[-1],
        gflops_per_s=peaks,
        levels=tuple(levels),
        remarks=tuple(remarks),
        quick=quick,
        seconds=time.perf_counter() - start,
        taken_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


# --------------------------------------------------------------------------------- persistence

_known: dict[Path, Ceilings] = {}


def _read(path: Path, fingerprint: str, threads: int) -> Ceilings | None:
    """Return what a file holds, None where there is no file; raises ValueError for all else."""
    try:
        found = Ceilings.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} can't be used ({error})") from error
    if (found.fingerprint, found.threads) != (fingerprint, threads):
        raise ValueError(f"{path} holds the ceilings of another machine or number of threads")
    if found.method != method():
        raise ValueError(f"{path} was measured by another version of tinytorch")
    return found


def ceilings(
    remeasure: bool = False, quick: bool = False, progress: Progress | None = None
) -> Ceilings:
    """Return this machine's ceilings for the threads in use, measured once and then remembered.

    They are kept in the cache folder by fingerprint and thread count. A file that can't be read or
    written costs one warning and a new measurement; `remeasure` replaces a good one. A file that
    was measured with `quick` serves until then.
    """
    fingerprint, count = machine.fingerprint(), threads.get_num_threads()
    path = config.cache_dir() / "ceilings" / f"{fingerprint}-{count}.json"
    complaint = None
    if not remeasure:
        if path in _known:
            return _known[path]
        try:
            found = _read(path, fingerprint, count)
        except ValueError as error:
            found, complaint = None, f"{error}: ceilings are measured again"
        if found:
            return _known.setdefault(path, found)
    measured = measure_ceilings(progress, quick)
    try:
        write_whole(path, json.dumps(measured.to_dict(), indent=1))
    except OSError as error:
        complaint = (
            f"ceilings can't be kept in {path.parent} ({error.strerror or error}): every process "
            "will measure again; set TINYTORCH_CACHE_DIR to a folder that can be written"
        )
    if complaint:
        warnings.warn(complaint, RuntimeWarning, stacklevel=2)
    _known[path] = measured
    return measured
