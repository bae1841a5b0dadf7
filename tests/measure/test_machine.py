"""Reading a machine from fake trees and texts, and saying what disturbs it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace

import pytest

from tinytorch.measure import caches, machine
from tinytorch.measure.caches import Cache
from tinytorch.native import level, threads


def write(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def cache_tree(index, level, kind, size, ways="8", line="64", shared="0"):
    folder = f"sys/devices/system/cpu/cpu0/cache/index{index}"
    facts = {
        "level": level,
        "type": kind,
        "size": size,
        "ways_of_associativity": ways,
        "coherency_line_size": line,
        "shared_cpu_list": shared,
    }
    return {f"{folder}/{name}": f"{text}\n" for name, text in facts.items() if text is not None}


@pytest.mark.parametrize(
    ("listed", "count"), [("0", 1), ("0-3", 4), ("0-1,8-9,16", 5), ("", 0), ("7,", 1)]
)
def test_cpu_lists_are_counted(listed, count):
    assert caches.count_cpus(listed) == count


def test_linux_caches_come_nearest_first_with_what_is_known(tmp_path):
    write(tmp_path, cache_tree(3, "3", "Unified", "32M", ways="0", shared="0-3,8-11"))
    write(tmp_path, cache_tree(0, "1", "Data", "48K", ways="12"))
    write(tmp_path, cache_tree(1, "1", "Instruction", "32K"))
    write(tmp_path, cache_tree(2, "2", "Unified", "2048K", line=None, shared=None))
    assert caches.linux_caches(tmp_path) == (
        Cache(1, "data", 48 << 10, 12, 64, 1),
        Cache(1, "instruction", 32 << 10, 8, 64, 1),
        Cache(2, "unified", 2 << 20, 8, None, None),
        Cache(3, "unified", 32 << 20, None, 64, 8),
    )


@pytest.mark.parametrize("lacking", ["level", "kind", "size"])
def test_a_linux_cache_without_its_essentials_is_absent(tmp_path, lacking):
    essentials = {"level": "1", "kind": "Data", "size": "32K"}
    write(tmp_path, cache_tree(0, **{**essentials, lacking: None}))
    assert caches.linux_caches(tmp_path) == ()


def test_no_tree_means_no_caches(tmp_path):
    assert caches.linux_caches(tmp_path) == ()
    assert caches.macos_caches("") == ()
    assert caches.windows_caches(b"") == ()


def test_apple_caches_are_those_of_the_fast_cores():
    text = (
        "hw.cachelinesize: 128\nhw.l1dcachesize: 65536\nhw.l1icachesize: 131072\n"
        "hw.l2cachesize: 4194304\nhw.perflevel0.l1dcachesize: 131072\n"
        "hw.perflevel0.l1icachesize: 196608\nhw.perflevel0.l2cachesize: 16777216\n"
        "hw.perflevel0.cpusperl2: 4\nhw.perflevel0.name: Performance\n"
    )
    assert caches.macos_caches(text) == (
        Cache(1, "data", 128 << 10, None, 128, 1),
        Cache(1, "instruction", 192 << 10, None, 128, 1),
        Cache(2, "unified", 16 << 20, None, 128, 4),
    )


def test_intel_mac_caches_have_no_performance_levels():
    text = "hw.cachelinesize: 64\nhw.l1dcachesize: 32768\nhw.l3cachesize: 8388608\n"
    assert caches.macos_caches(text) == (
        Cache(1, "data", 32 << 10, None, 64, 1),
        Cache(3, "unified", 8 << 20, None, 64, None),
    )


def test_windows_records_are_read_once_a_level():
    def record(mask, relation, level, ways, size, kind):
        return struct.pack("<QI4xBBHII4x", mask, relation, level, ways, 64, size, kind)

    records = (
        record(0b11, 0, 0, 0, 0, 0)  # a core
        + record(0b11, 2, 1, 8, 32 << 10, 2)
        + record(0b11, 2, 1, 8, 64 << 10, 1)
        + record(0b1000, 2, 1, 8, 48 << 10, 2)  # another core's
        + record(0b1111, 2, 3, 0xFF, 8 << 20, 0)
        + record(0b1111, 2, 1, 8, 1 << 10, 3)  # a trace cache
    )
    assert caches.windows_caches(records) == (
        Cache(1, "data", 32 << 10, 8, 64, 2),
        Cache(1, "instruction", 64 << 10, 8, 64, 2),
        Cache(3, "unified", 8 << 20, None, 64, 4),
    )


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9654\nflags\t: fpu\n", "AMD EPYC 9654"),
        ("processor\t: 0\nCPU part\t: 0xd40\n\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("processor\t: 0\nmodel name\t: \nCPU part\t: 0xd40\n", None),
        ("", None),
    ],
)
def test_cpu_model_of_cpuinfo(cpuinfo, name):
    assert machine.linux_cpu_model(cpuinfo) == name


# ------------------------------------------------------------------------------------ this one


def test_this_machine_survives_json():
    seen = machine.detect()
    assert machine.Machine.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


def test_this_machine_agrees_with_the_parts_it_is_read_from():
    seen = machine.detect()
    assert (seen.isa, seen.usable_cpus) == (level.isa(), threads.usable_cpus())
    assert seen.cpu_model
    assert seen.memory_bytes > 1 << 28
    assert set(seen.versions) == {"python", "numpy", "numba", "llvmlite"}
    assert "unknown" not in seen.versions.values()
    assert all(cache.kind != "instruction" for cache in seen.data_caches)
    sizes = [cache.size_bytes for cache in seen.data_caches]
    assert sizes == sorted(sizes)


def test_blas_threads_are_those_of_now():
    if not machine.detect().blas or threads.usable_cpus() < 2:
        pytest.skip("needs a BLAS that can be asked, and two CPUs")
    with threads.use_threads(1):
        assert {b.threads for b in machine.detect().blas} == {1}
    with threads.use_threads(2):
        assert {b.threads for b in machine.detect().blas} == {2}


def test_blas_text_names_each_library_or_says_there_is_none():
    two = (machine.Blas("openblas", "0.3.31", 2), machine.Blas("mkl", None, 1))
    assert replace(machine.detect(), blas=two).blas_text == (
        "openblas 0.3.31 (2 threads), mkl ? (1 threads)"
    )
    assert "no BLAS" in replace(machine.detect(), blas=()).blas_text


# ------------------------------------------------------------------------------ the fingerprint


def test_fingerprint_is_16_hex_digits_and_the_same_each_time():
    fresh = machine.fingerprint.__wrapped__
    assert fresh() == machine.fingerprint()
    assert len(machine.fingerprint()) == 16
    int(machine.fingerprint(), 16)


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("tinytorch.measure.machine._llvm_host", lambda: ("another-cpu", "+sse2")),
        ("tinytorch.measure.machine.detect_caches", lambda: (Cache(1, "data", 1, 1, 64, 1),)),
        ("tinytorch.native.threads.usable_cpus", lambda: 4096),
    ],
)
def test_fingerprint_follows_what_decides_speed(monkeypatch, target, value):
    before = machine.fingerprint.__wrapped__()
    monkeypatch.setattr(target, value)
    assert machine.fingerprint.__wrapped__() != before


def test_fingerprint_follows_the_vector_level_asked_for(monkeypatch):
    monkeypatch.delenv("TINYTORCH_ISA", raising=False)
    before = machine.fingerprint.__wrapped__()
    monkeypatch.setenv("TINYTORCH_ISA", "v128")
    assert machine.fingerprint.__wrapped__() != before


def test_fingerprint_ignores_names_and_versions(monkeypatch):
    before = machine.fingerprint.__wrapped__()
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    monkeypatch.setattr("platform.python_version", lambda: "9.9.9")
    monkeypatch.setattr("tinytorch.measure.machine.metadata.version", lambda name: "9.9.9")
    assert machine.fingerprint.__wrapped__() == before


def test_fingerprint_loads_neither_numba_nor_numpy():
    code = (
        "import sys; from tinytorch.measure import machine; machine.fingerprint(); "
        "print({'numba', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --------------------------------------------------------------------------------- disturbances

QUIET = machine.Activity(
    seconds=0.0,
    busy_seconds=0.0,
    own_seconds=0.0,
    stolen_seconds=0.0,
    throttled_periods=5,
    thermal_throttles=7,
)


def after(**changes):
    return machine.disturbances(QUIET, replace(QUIET, seconds=10.0, **changes), cpus=2)


def test_a_quiet_machine_says_nothing_even_if_we_are_busy():
    assert after() == []
    assert after(busy_seconds=20.0, own_seconds=19.0) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"busy_seconds": 12.0, "own_seconds": 2.0}, "other programs used 1.0 of 2 CPUs"),
        ({"stolen_seconds": 2.0}, "hypervisor gave 10%"),
        ({"throttled_periods": 8}, "quota ran out 3 times"),
        ({"thermal_throttles": 8}, "heat 1 times"),
    ],
)
def test_each_disturbance_is_one_sentence(changes, words):
    (sentence,) = after(**changes)
    assert words in sentence


def test_throttling_is_read_from_the_group_of_this_process(tmp_path):
    assert machine.throttled_periods(tmp_path) == 0
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/job\n",
            "sys/fs/cgroup/user.slice/job/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
            "sys/fs/cgroup/cpu.stat": "nr_throttled 1\n",
        },
    )
    assert machine.throttled_periods(tmp_path) == 4


def test_throttling_in_a_container_is_read_from_the_root_of_its_tree(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123\n",
            "sys/fs/cgroup/cpu.stat": "nr_throttled 6\n",
        },
    )
    assert machine.throttled_periods(tmp_path) == 6


def test_throttling_under_the_older_control_groups(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/job\n2:cpuset:/\n",
            "sys/fs/cgroup/cpu/job/cpu.stat": "nr_throttled 2\n",
            "sys/fs/cgroup/cpu/cpu.stat": "nr_throttled 90\n",
        },
    )
    assert machine.throttled_periods(tmp_path) == 2


def test_heat_is_summed_over_cores(tmp_path):
    for cpu, count in ((0, "3"), (11, "4")):
        folder = f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle"
        write(tmp_path, {f"{folder}/core_throttle_count": f"{count}\n"})
    assert machine.thermal_throttles(tmp_path) == 7


@pytest.mark.parametrize(
    ("driver", "governor", "preference", "slow"),
    [
        ("acpi-cpufreq", "powersave", None, True),
        ("acpi-cpufreq", "performance", None, False),
        ("intel_pstate", "powersave", "balance_performance", False),
        ("intel_pstate", "powersave", "power", True),
    ],
)
def test_only_a_governor_that_holds_the_clock_low_is_named(
    tmp_path, driver, governor, preference, slow
):
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    write(tmp_path, {f"{policy}/scaling_driver": driver, f"{policy}/scaling_governor": governor})
    if preference:
        write(tmp_path, {f"{policy}/energy_performance_preference": preference})
    assert (machine.slow_clock(tmp_path) is not None) == slow


def test_a_crowd_is_more_than_the_cpus_can_run():
    assert machine.crowded(2.4, 2) is None
    assert "2.6 on 2 CPUs" in machine.crowded(2.6, 2)


def test_our_own_work_is_counted_as_ours():
    before = machine.activity()
    while machine.activity().own_seconds < before.own_seconds + 0.05:
        sum(range(10_000))
    later = machine.activity()
    assert later.seconds > before.seconds
    assert later.busy_seconds >= before.busy_seconds


def test_warnings_judge_the_time_since_a_moment(tmp_path):
    count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    write(tmp_path, {count: "1\n"})
    before = machine.activity(tmp_path)
    write(tmp_path, {count: "3\n"})
    assert any("heat 2 times" in s for s in machine.warnings(since=before, root=tmp_path))
    assert not any("heat" in s for s in machine.warnings(root=tmp_path))


def test_cpus_outside_our_affinity_are_not_ours(monkeypatch):
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs CPU affinity and two CPUs")
    both = machine.activity().busy_seconds
    one = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {one})
    assert machine.activity().busy_seconds < both
