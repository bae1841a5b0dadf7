"""The microkernels do what they say; their figures are kept, looked up and doubted."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tinytorch.errors import InvalidValue, MeasurementError, UnknownName
from tinytorch.measure import ceilings as ceilings_module
from tinytorch.measure import machine, microkernels, probes
from tinytorch.measure.caches import Cache
from tinytorch.measure.ceilings import Ceilings, Figure, LevelCeiling, ceilings
from tinytorch.native import codecache, threads
from tinytorch.native import level as vectors

# ------------------------------------------------------------------------------- microkernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 3])
def test_fma_chains_are_the_recurrence(dtype, rows):
    shape = microkernels.chain_shape(rows, dtype)
    start = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    result = np.full_like(start, np.nan)
    microkernels.fma_chains(start, dtype(0.5), dtype(1.0), result, 9)
    expected = start.copy()
    for _ in range(9):  # exact: no step needs more bits than float32 has
        expected = expected * dtype(0.5) + dtype(1.0)
    np.testing.assert_array_equal(result, expected)


def hot_loops(asm):
    """Return the innermost loops of x86 or ARM assembly: lines from a label to the jump back."""
    loops = []
    lines = asm.splitlines()
    labels = {line.split(":")[0]: i for i, line in enumerate(lines) if re.match(r"\.?L\w+:", line)}
    for end, line in enumerate(lines):
        jump = re.match(r"\s+(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+(\.?L\w+)", line)
        start = labels.get(jump[1], end) if jump else end
        body = lines[start + 1 : end]
        if start < end and not any(other in labels for other in (b.split(":")[0] for b in body)):
            loops.append(body)
    return loops


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_peak_loop_holds_only_full_width_multiply_adds_on_registers(dtype):
    start = np.ones(microkernels.chain_shape(1, dtype), dtype)
    asm = codecache.assembly(microkernels.fma_chains, start, dtype(1), dtype(1), start, 9)
    register = {"avx512": "zmm", "avx2": "ymm"}.get(vectors.isa())
    if register is None:
        register = "neon" if "fmla" in asm else "xmm"
    with_arithmetic = [
        loop for loop in hot_loops(asm) if vectors.register_uses("\n".join(loop))[register]
    ]
    assert with_arithmetic
    for loop in with_arithmetic:
        uses = vectors.register_uses("\n".join(loop))
        assert uses.pop(register) >= microkernels.accumulators() >= 8
        assert not any(uses.values()), uses
        if register in ("zmm", "ymm"):
            assert all("vfmadd" in line for line in loop if register in line)
        assert not any("(" in line or "[" in line for line in loop), "memory in the loop"


def operands(buffer, count):
    size = microkernels.operand_size(buffer, count)
    return [size, *(buffer[:, i * size : (i + 1) * size] for i in range(count))]


def test_reading_sums_every_element_of_each_row_each_time():
    buffer = microkernels.stream_buffer(2, 20_000)
    size, source = operands(buffer, 1)
    source[:] = np.arange(source.size).reshape(source.shape)
    buffer[:, size:] = np.nan
    sums = np.array([1.0, 2.0])
    microkernels.read(buffer, size, sums, 3)
    np.testing.assert_array_equal(sums, 3 * source.sum(axis=1) + [1, 2])


@pytest.mark.parametrize("rows", [1, 2])
def test_copying_writes_the_target_and_nothing_else(rows):
    buffer = microkernels.stream_buffer(rows, 20_000)
    size, source, _ = operands(buffer, 2)
    source[:] = np.arange(source.size).reshape(source.shape)
    expected = buffer.copy()
    expected[:, size : 2 * size] = source
    microkernels.copy(buffer, size, 2)
    np.testing.assert_array_equal(buffer, expected)


@pytest.mark.parametrize("kernel", [microkernels.triad, microkernels.triad_past_cache])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_triads_are_a_plus_s_times_b(kernel, rows):
    buffer = microkernels.stream_buffer(rows, 30_000)
    size, first, second, target = operands(buffer, 3)
    first[:] = np.arange(first.size).reshape(first.shape)
    second[:] = first[:, ::-1] - 7
    target[:] = np.nan
    expected = buffer.copy()
    expected[:, 2 * size : 3 * size] = first + 3.0 * second
    kernel(buffer, size, 3.0, 2)
    np.testing.assert_array_equal(buffer, expected)


def test_nothing_repeated_is_nothing_written():
    buffer = microkernels.stream_buffer(1, 30_000)
    microkernels.triad(buffer, microkernels.operand_size(buffer, 3), 3.0, 0)
    np.testing.assert_array_equal(buffer, 1.0)


def test_stores_past_the_cache_are_in_the_machine_code():
    buffer = microkernels.stream_buffer(1, 30_000)
    past = re.compile(r"^\s+(v?movnt|stnp)", re.MULTILINE)
    assert past.search(codecache.assembly(microkernels.triad_past_cache, buffer, 384, 3.0, 2))
    assert not past.search(codecache.assembly(microkernels.triad, buffer, 384, 3.0, 2))


@pytest.mark.parametrize("nbytes", [0, 16 << 10, 100_000, 1 << 20])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_operands_are_whole_aligned_blocks_within_the_bytes_given(nbytes, count):
    buffer = microkernels.stream_buffer(2, nbytes)
    size = microkernels.operand_size(buffer, count)
    assert buffer.nbytes <= 2 * max(nbytes, 9 << 10)
    assert size * count <= buffer.shape[1]
    assert size * 8 % (64 * microkernels.UNROLL) == 0
    assert buffer.ctypes.data % 64 == buffer[1:].ctypes.data % 64 == 0
    # A target lies at least half a page ahead of its sources, within a page: never just ahead.
    assert all(size * 8 * distance % 4096 >= 2048 for distance in range(1, count))


@pytest.mark.parametrize(("nbytes", "line"), [(64, 64), (4096, 64), (100_000, 128), (1 << 20, 64)])
def test_the_chase_is_one_cycle_through_every_line(nbytes, line):
    lines = microkernels.chase_operand(nbytes, line)
    base = lines.ctypes.data
    place, seen = 0, set()
    while place not in seen:
        seen.add(place)
        place = int(lines[place // 8]) - base
    assert seen == {i * line for i in range(nbytes // line)}
    assert place == 0


def test_chasing_follows_the_addresses():
    lines = microkernels.chase_operand(4096, 64)
    place = int(lines[0])
    for steps in range(64):
        assert microkernels.chase(lines, steps) == place
        place = int(lines[(place - lines.ctypes.data) // 8])
    assert microkernels.chase(lines, 63) == lines.ctypes.data  # 64 lines: back at the first


# ------------------------------------------------------------------------------------- probes


def test_a_loop_that_was_deleted_is_refused():
    deleted = probes.Probe("empty", 1, work=1e9, limit=1e12, run=lambda repeats: None)
    with pytest.raises(MeasurementError, match="deleted"):
        probes.sample_rates([deleted], probes.Budget(0.01, 0.001))


def test_limits_are_above_what_this_machine_does_and_far_below_a_deleted_loop():
    (probe,) = probes.peak_probes(["float32"], [1])
    rate = probes.sample_rates([probe], probes.Budget(0.01, 0.001))["float32", 1]
    assert max(rate) < probe.limit < 1e4 * max(rate)


class Clock:
    """A clock that only fake work moves on."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(probes.time, "perf_counter", lambda: self.now)

    def probe(self, name, count, rate, overhead=0.0, **options):
        def run(repeats):
            self.now += overhead + repeats / rate
            self.last = repeats

        return probes.Probe(name, count, work=1.0, limit=math.inf, run=run, **options)


def test_rates_are_work_over_time_and_rounds_fill_the_budget(monkeypatch):
    clock = Clock(monkeypatch)
    shares = []
    rates = probes.sample_rates(
        [clock.probe("a", 1, 1000.0), clock.probe("b", 1, 50.0)],
        probes.Budget(seconds=10.0, sample_seconds=0.5, min_rounds=3),
        shares.append,
    )
    assert rates["a", 1] == pytest.approx([1000.0] * 10)
    assert rates["b", 1] == pytest.approx([50.0] * 10)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_least_rounds_are_taken_even_over_budget(monkeypatch):
    clock = Clock(monkeypatch)
    rates = probes.sample_rates([clock.probe("a", 1, 10.0)], probes.Budget(0.1, 5.0, min_rounds=7))
    assert len(rates["a", 1]) == 7


@pytest.mark.skipif(threads.usable_cpus() < 2, reason="needs two CPUs")
def test_waiting_threads_do_not_shorten_the_work_of_a_sample(monkeypatch):
    clock = Clock(monkeypatch)
    alone = clock.probe("a", 1, 1000.0)
    together = clock.probe("a", 2, 2000.0, overhead=10.0)
    probes.sample_rates([alone, together], probes.Budget(1.0, 0.5, min_rounds=1))
    assert clock.last == 1000  # 500 a thread, as one alone does in half a second


def test_a_warm_probe_is_warmed_before_each_sample_and_lasts_its_share(monkeypatch):
    clock = Clock(monkeypatch)
    warmed = []
    probe = clock.probe("a", 1, 1000.0, warm=lambda: warmed.append(clock.now), sample_share=0.1)
    rates = probes.sample_rates([probe], probes.Budget(1.0, 0.5, min_rounds=1))
    assert clock.last == 50
    assert len(warmed) >= len(rates["a", 1])


L1 = Cache(1, "data", 32 << 10, 8, 64, 1)
L2 = Cache(2, "unified", 1 << 20, 8, None, 2)
L3 = Cache(3, "unified", 8 << 20, 16, 64, 4)


def test_working_sets_are_half_a_level_for_each_group_that_shares_one():
    found, remarks = probes.places([L1, L2, L3], [1, 6])
    assert [place.name for place in found] == ["L1", "L2", "L3", "DRAM"]
    assert [place.bytes_by_threads[1] for place in found[:3]] == [16 << 10, 512 << 10, 4 << 20]
    assert [place.bytes_by_threads[6] for place in found[:3]] == [96 << 10, 1536 << 10, 8 << 20]
    assert found[3].bytes_by_threads == {1: 32 << 20, 6: 64 << 20}
    assert remarks == []


def free_memory(monkeypatch, nbytes):
    class Memory:
        available = nbytes

    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory)


def test_too_little_memory_for_dram_is_said(monkeypatch):
    free_memory(monkeypatch, 128 << 20)
    found, (remark,) = probes.places([L1, L3], [1])
    assert found[-1].bytes_by_threads == {1: 16 << 20}
    assert "over 16 MiB" in remark
    assert "(32 MiB)" in remark


def test_unknown_caches_have_no_ceiling_and_that_is_said(monkeypatch):
    free_memory(monkeypatch, 1 << 30)
    found, (remark,) = probes.places([], [1, 2])
    assert [place.name for place in found] == ["DRAM"]
    assert "only DRAM" in remark


# -------------------------------------------------------------------------------- the figures


def figure(value):
    return Figure(median=value, low=value * 0.9, high=value * 1.1, samples=9)


def level(name, size, gb_per_s, latency, *, shared_by=1):
    past = figure(1.5 * gb_per_s) if name == "DRAM" else None
    return LevelCeiling(
        name=name,
        size_bytes=size,
        shared_by=shared_by,
        working_set_bytes=1000,
        working_set_bytes_all=2000,
        read_gb_per_s=figure(gb_per_s),
        read_gb_per_s_all=figure(2 * gb_per_s),
        copy_gb_per_s=figure(0.9 * gb_per_s),
        copy_gb_per_s_all=figure(1.8 * gb_per_s),
        triad_gb_per_s=figure(0.6 * gb_per_s),
        triad_gb_per_s_all=figure(1.2 * gb_per_s),
        latency_ns=figure(latency),
        triad_nontemporal_gb_per_s=past,
        triad_nontemporal_gb_per_s_all=past,
    )


LEVELS = (
    level("L1", 32 << 10, 200.0, 1.0),
    level("L2", 1 << 20, 100.0, 4.0),
    level("L3", 32 << 20, 60.0, 20.0, shared_by=2),
    level("DRAM", None, 30.0, 100.0, shared_by=None),
)


def made(**changes):
    known = Ceilings(
        fingerprint=machine.fingerprint(),
        method=ceilings_module.method(),
        threads=2,
        gflops_per_s={
            "float32": {1: figure(120.0), 2: figure(230.0)},
            "float64": {1: figure(60.0), 2: figure(115.0)},
        },
        levels=LEVELS,
        remarks=("made by hand",),
        quick=True,
        seconds=1.0,
        taken_at="2025-01-01T00:00:00+00:00",
    )
    return replace(known, **changes)


def test_ceilings_survive_json():
    assert Ceilings.from_dict(json.loads(json.dumps(made().to_dict()))) == made()


def test_the_write_allocate_triad_counts_32_bytes_for_24():
    dram = made().level("DRAM")
    assert dram.triad_gb_per_s.median == 18.0
    assert dram.triad_write_allocate_gb_per_s.median == pytest.approx(24.0)
    assert dram.triad_write_allocate_gb_per_s_all.high == pytest.approx(48.0 * 1.1)
    assert dram.to_dict()["triad_write_allocate_gb_per_s"]["median"] == pytest.approx(24.0)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32")])
def test_peaks_by_any_name_of_a_dtype(dtype):
    assert made().peak_flops_per_s(dtype) == 120e9
    assert made().peak_flops_per_s(dtype, 2) == 230e9


@pytest.mark.parametrize(
    ("nbytes", "count", "name"),
    [
        (0, 1, "L1"),
        (32 << 10, 1, "L1"),
        ((32 << 10) + 1, 1, "L2"),
        (64 << 10, 2, "L1"),  # each thread has one of its own
        (32 << 20, 2, "L3"),
        ((32 << 20) + 1, 2, "DRAM"),  # both share this one
        (1 << 40, 1, "DRAM"),
    ],
)
def test_the_level_of_a_working_set_is_the_nearest_that_holds_it(nbytes, count, name):
    assert made().level_for(nbytes, count).name == name


def test_bandwidth_by_level_working_set_threads_and_pattern():
    found = made()
    assert found.bandwidth_bytes_per_s("L2") == pytest.approx(90e9)
    assert found.bandwidth_bytes_per_s("L2", 2) == pytest.approx(180e9)
    assert found.bandwidth_bytes_per_s(1 << 30) == pytest.approx(27e9)
    assert found.bandwidth_bytes_per_s("L1", pattern="read") == pytest.approx(200e9)
    assert found.bandwidth_bytes_per_s("DRAM", 2, "triad_nontemporal") == pytest.approx(45e9)


def test_what_was_not_measured_is_refused():
    found = made()
    with pytest.raises(UnknownName, match="float32"):
        found.peak_flops_per_s("float16")
    with pytest.raises(UnknownName, match="DRAM"):
        found.bandwidth_bytes_per_s("DRM")
    with pytest.raises(InvalidValue, match="1 and 2 threads, not 3"):
        found.peak_flops_per_s("float32", 3)
    with pytest.raises(InvalidValue, match="1 and 2 threads, not 3"):
        found.bandwidth_bytes_per_s("L1", 3)
    with pytest.raises(InvalidValue, match="not measured in L1"):
        found.bandwidth_bytes_per_s("L1", pattern="triad_nontemporal")


@pytest.mark.parametrize("median", [0.0, -1.0, math.nan, math.inf, 3.0])
def test_a_figure_lies_within_its_bounds(median):
    with pytest.raises(InvalidValue):
        Figure(median=median, low=1.0, high=2.0, samples=3)


def test_levels_in_order_get_no_remark():
    assert ceilings_module._disorder(LEVELS) == []


def test_a_level_that_beats_a_nearer_one_is_remarked_upon():
    fast = replace(LEVELS[2], read_gb_per_s=figure(130.0), latency_ns=figure(2.0))
    remarks = ceilings_module._disorder((LEVELS[1], fast))
    assert [remark.split(" than")[0] for remark in remarks] == [
        "L3 reads faster",
        "L3 answers sooner",
    ]


def test_threads_that_add_nothing_are_remarked_upon():
    assert ceilings_module._idle_threads(made().gflops_per_s) == []
    (remark,) = ceilings_module._idle_threads({"float32": {1: figure(100.0), 2: figure(110.0)}})
    assert "2 threads reached 1.1 times the float32 peak" in remark
    assert ceilings_module._idle_threads({"float32": {1: figure(100.0)}}) == []


# ------------------------------------------------------------------------------ this machine


@pytest.fixture(scope="module")
def measured():
    seen = []
    patch = pytest.MonkeyPatch()
    patch.setattr(ceilings_module, "_QUICK_SECONDS", 0.3)
    try:
        found = ceilings_module.measure_ceilings(lambda *event: seen.append(event), quick=True)
    finally:
        patch.undo()
    return found, seen


def test_every_level_that_is_known_has_its_ceilings(measured):
    found, _ = measured
    names = [f"L{cache.level}" for cache in machine.detect().data_caches]
    assert [at.name for at in found.levels] == [*names, "DRAM"]
    assert found.threads == threads.get_num_threads()
    assert set(found.gflops_per_s) == {"float32", "float64"}
    assert all(set(by) == {1, found.threads} for by in found.gflops_per_s.values())
    for at in found.levels:
        past_cache = at.triad_nontemporal_gb_per_s
        assert (past_cache is not None) == (at.name == "DRAM")
        assert at.read_gb_per_s.samples >= 7


def test_the_figures_tell_the_levels_and_the_dtypes_apart(measured):
    found, _ = measured
    # Width 2, distance over 5, measured over 100: the margins are for a busy machine.
    assert found.peak_flops_per_s("float32") > 1.2 * found.peak_flops_per_s("float64")
    if len(found.levels) > 1:
        near, far = found.levels[0], found.levels[-1]
        assert near.read_gb_per_s.median > 1.5 * far.read_gb_per_s.median
        assert far.latency_ns.median > 5 * near.latency_ns.median


def test_dram_is_measured_over_four_last_levels_or_that_is_said(measured):
    found, _ = measured
    if len(found.levels) > 1:
        wanted = 4 * found.levels[-2].size_bytes
        assert found.levels[-1].working_set_bytes >= wanted or "DRAM was" in found.remarks[0]


def test_progress_names_every_part_and_ends_at_one(measured):
    found, seen = measured
    names = list(dict.fromkeys(name for name, _ in seen))
    assert names == ["peak FLOP/s", *(at.name for at in found.levels)]
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_measured_ceilings_survive_json(measured):
    found, _ = measured
    assert Ceilings.from_dict(json.loads(json.dumps(found.to_dict()))) == found


# -------------------------------------------------------------------------------- persistence


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Count measurements, in a cache folder of the test's own; return (path, counts, forget)."""
    monkeypatch.setenv("TINYTORCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(ceilings_module, "_known", {})
    counts = []

    def measure(progress=None, quick=False):
        counts.append(quick)
        return made(threads=threads.get_num_threads(), seconds=float(len(counts)))

    monkeypatch.setattr(ceilings_module, "measure_ceilings", measure)
    name = f"{machine.fingerprint()}-{threads.get_num_threads()}.json"
    return tmp_path / "cache" / "ceilings" / name, counts, ceilings_module._known.clear


def test_ceilings_are_measured_once_and_then_read(kept):
    path, counts, forget = kept
    first = ceilings()
    assert ceilings() is first
    forget()  # as in a new process
    assert ceilings() == first
    assert len(counts) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_remeasuring_replaces_the_file(kept):
    _, counts, forget = kept
    ceilings()
    assert ceilings(remeasure=True, quick=True).seconds == 2.0
    assert counts == [False, True]
    forget()
    assert ceilings().seconds == 2.0


def spoiled(**changes):
    return json.dumps({**made(threads=threads.get_num_threads()).to_dict(), **changes})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        spoiled().encode()[:1000],
        b"\xff\xfe\x00garbage",
        b"[1, 2]",
        b"[" * 100_000,
        b"{}",
        spoiled(schema="tinytorch.ceilings/0").encode(),
        spoiled(fingerprint="0" * 16).encode(),
        spoiled(threads=4096).encode(),
        spoiled(method="0" * 16).encode(),
        spoiled(levels=[{"name": "L1"}]).encode(),
        spoiled(gflops_per_s={"float32": {"1": {"median": math.nan}}}).encode(),
    ],
    ids=[
        "empty",
        "truncated",
        "garbage",
        "a list",
        "deep",
        "no schema",
        "old schema",
        "foreign",
        "other threads",
        "other probes",
        "half a level",
        "not a number",
    ],
)
def test_a_file_that_cannot_be_used_costs_one_warning_and_is_replaced(kept, content):
    path, counts, forget = kept
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="measured again") as said:
        ceilings()
    assert len(said) == 1
    assert len(counts) == 1
    forget()
    ceilings()
    assert len(counts) == 1


def test_a_folder_that_cannot_be_written_costs_one_warning(kept):
    path, counts, _ = kept
    path.parent.parent.parent.mkdir(exist_ok=True)
    path.parent.parent.write_text("a file, where the folder should be")
    with pytest.warns(RuntimeWarning, match="can't be kept") as said:
        found = ceilings()
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ceilings() is found
    assert len(counts) == 1


def test_a_write_that_fails_leaves_nothing_behind(kept, monkeypatch):
    path, _, _ = kept

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        ceilings()
    assert list(path.parent.iterdir()) == []
