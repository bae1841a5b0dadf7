from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

from tinytorch.kernels.gemm import gemm
from tinytorch.native import placement, threads

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or threads.usable_cpus() < 2, reason="needs Linux and two CPUs"
)


def product() -> None:
    a = np.ones((256, 256), np.float32)
    assert gemm(a, a)[0, 0] == 256


def test_workers_are_kept_off_the_callers_cpu_and_the_caller_stays_free() -> None:
    before = os.sched_getaffinity(0)
    product()
    place = placement._PLACE
    assert len(place.workers) >= 1
    assert threading.get_native_id() not in place.workers
    for worker in place.workers:
        assert os.sched_getaffinity(worker) == before - {place.cpu}
    assert os.sched_getaffinity(0) == before


def test_workers_are_moved_when_their_caller_has_moved() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {cpu})
            os.sched_setaffinity(0, allowed)  # and stays on it, until there is cause to move
            placement._PLACE.cpu = -1
            placement._move(cpu)
            assert all(os.sched_getaffinity(w) == allowed - {cpu} for w in placement._PLACE.workers)
    finally:
        os.sched_setaffinity(0, allowed)


def test_one_allowed_cpu_leaves_nowhere_to_go() -> None:
    allowed = os.sched_getaffinity(0)
    product()
    placed = {w: os.sched_getaffinity(w) for w in placement._PLACE.workers}
    try:
        os.sched_setaffinity(0, {min(allowed)})
        placement._move(min(allowed))
        assert placed == {w: os.sched_getaffinity(w) for w in placement._PLACE.workers}
    finally:
        os.sched_setaffinity(0, allowed)
        placement._PLACE.cpu = -1


def test_each_python_thread_has_workers_of_its_own() -> None:
    product()
    mine = placement._PLACE.workers
    theirs: list[tuple[int, ...]] = []

    def run() -> None:
        product()
        theirs.append(placement._PLACE.workers)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert theirs[0]
    assert not set(mine) & set(theirs[0])
