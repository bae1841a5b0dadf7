"""What a call allocates, against counts derived by hand."""

import mmap
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

from tinytorch.measure import memory
from tinytorch.measure.memory import count_allocations, measure_memory, resident_bytes
from tinytorch.native.codecache import jit

# Python objects (argument tuples, dictionaries, counters) that a bare call may leave in the peak.
OBJECT_BYTES = 4096
ELISION_BYTES = 256 * 1024


def gelu_like(x):
    return 0.5 * x * (1 + np.tanh(x))


# ------------------------------------------------------------------------------ NumPy


def test_a_call_with_out_allocates_nothing():
    x, z = np.ones(10_000), np.ones(10_000)
    used = measure_memory(np.multiply, x, x, out=z)
    assert (used.allocations, used.allocated_bytes) == (0, 0)
    assert used.peak_bytes < OBJECT_BYTES
    assert used.result_bytes == z.nbytes


def test_small_temporaries_are_counted_one_an_operator():
    # 0.5*x, tanh(x), 1+tanh, and the product, which is the result; the boxed 0.5 and 1 are not.
    # Before the product, three are alive but for tanh(x), gone once 1+tanh is there: 3 at once.
    x = np.ones(1000)
    used = measure_memory(gelu_like, x)
    assert (used.allocations, used.allocated_bytes) == (4, 4 * x.nbytes)
    assert 3 * x.nbytes <= used.peak_bytes < 3 * x.nbytes + OBJECT_BYTES
    assert x.nbytes <= used.live_bytes < x.nbytes + OBJECT_BYTES
    assert used.result_bytes == x.nbytes


def test_large_temporaries_are_reused_where_numpy_elides():
    # From 256 KiB up NumPy may write an operator's result over an operand that nobody else holds:
    # 0.5*x and tanh(x) stay, 1+tanh goes over tanh, the product over 0.5*x. It needs a look at the
    # C stack for that, which it has on Linux only.
    x = np.ones(ELISION_BYTES // 8)
    used = measure_memory(gelu_like, x)
    expected = (2,) if sys.platform == "linux" else (2, 3, 4)
    assert used.allocations in expected
    assert used.allocated_bytes == used.allocations * x.nbytes


def test_zeros_and_growing_arrays_are_counted():
    assert measure_memory(np.zeros, 1000).allocated_bytes == 8000

    def grow():
        x = np.empty(10)
        x.resize(1000, refcheck=False)

    used = measure_memory(grow)
    assert (used.allocations, used.allocated_bytes) == (2, 80 + 8000)
    assert used.live_bytes < OBJECT_BYTES


def test_repeated_small_arrays_are_counted_each_time():
    # NumPy hands small blocks out again from a cache of its own; they were asked for all the same.
    used = measure_memory(lambda: [np.empty(4) for _ in range(50)] and None)
    assert (used.allocations, used.allocated_bytes) == (50, 50 * 32)


def test_python_objects_are_in_the_peak_and_not_in_the_count():
    used = measure_memory(lambda: [float(i) for i in range(10_000)] and bytearray(1_000_000))
    assert (used.allocations, used.allocated_bytes) == (0, 0)
    assert used.peak_bytes > 1_000_000
    assert used.result_bytes is None


def test_views_and_scalars_are_not_counted():
    x = np.ones((100, 100))
    assert measure_memory(lambda: (x.T[::2], x.sum(), np.maximum(x, 0, out=x))).allocations == 0


def test_a_call_that_frees_reports_it():
    tracemalloc.start()
    try:
        held = [np.ones(100_000)]
        used = measure_memory(held.clear)
    finally:
        tracemalloc.stop()
    assert -800_000 - OBJECT_BYTES < used.live_bytes < -800_000 + OBJECT_BYTES
    assert 0 <= used.peak_bytes < OBJECT_BYTES


# ------------------------------------------------------------------------------ compiled kernels


@jit
def writes_out(x, y, out):
    for i in range(x.size):
        out[i] = x[i] + y[i]


@jit
def makes_buffers(x, times):
    total = 0.0
    for i in range(times):
        buffer = np.empty(x.size + i)
        buffer[:] = x[0]
        total += buffer.sum()
    return total


@jit
def returns_new(pair):
    return pair[0] * pair[1]


def test_a_kernel_that_only_writes_out_allocates_nothing():
    x, out = np.ones(10_000), np.empty(10_000)
    writes_out(x, x, out)
    used = measure_memory(lambda: [writes_out(x, x, out), writes_out(x, y=x, out=out)].clear())
    assert (used.allocations, used.allocated_bytes) == (0, 0)
    assert used.peak_bytes < OBJECT_BYTES


@pytest.mark.parametrize("times", [1, 3])
def test_buffers_inside_a_kernel_are_counted(times):
    x = np.ones(10_000)
    makes_buffers(x, times)
    used = measure_memory(makes_buffers, x, times)
    assert used.allocations == times
    assert used.allocated_bytes is None  # Numba's runtime does not tell
    assert x.nbytes < used.peak_bytes < 2 * x.nbytes + OBJECT_BYTES


def test_arrays_in_a_tuple_are_arguments_and_the_result_is_an_allocation():
    x = np.ones(10_000)
    returns_new((x, x))
    used = measure_memory(returns_new, (x, x))
    assert used.allocations == 1
    assert used.live_bytes >= used.result_bytes == x.nbytes


def test_both_kinds_add_up():
    x = np.ones(1000)
    returns_new((x, x))
    assert measure_memory(lambda: returns_new((x, x)) + 1.0).allocations == 2


# ------------------------------------------------------------------------------ as it was found


def numba_state():
    from numba.core.dispatcher import Dispatcher
    from numba.core.runtime import _nrt_python

    return _nrt_python.memsys_stats_enabled(), "__call__" in vars(Dispatcher)


def fails():
    raise KeyError("on purpose")


def test_everything_is_put_back_even_after_an_error():
    before = get_handler_name(), numba_state(), tracemalloc.is_tracing()
    with pytest.raises(KeyError):
        measure_memory(fails)
    assert (get_handler_name(), numba_state(), tracemalloc.is_tracing()) == before
    assert before == ("default_allocator", (False, False), False)


def test_tracing_that_was_on_stays_on():
    tracemalloc.start()
    try:
        kept = np.ones(100_000)
        np.ones(1_000_000)  # gone again: a peak, but not of the call that is measured
        used = measure_memory(np.empty, 1000)
        assert tracemalloc.is_tracing()
        assert tracemalloc.get_traced_memory()[0] >= kept.nbytes
        assert 8000 <= used.peak_bytes < 8000 + OBJECT_BYTES
    finally:
        tracemalloc.stop()


def test_blocks_nest_and_each_counts_once():
    x = np.ones(1000)
    returns_new((x, x))
    with count_allocations() as outer:
        np.empty(1000)
        with count_allocations() as inner:
            np.empty(2000)
            returns_new((x, x))
        np.empty(3000)
    assert (inner.count, outer.count) == (2, 4)
    assert numba_state() == (False, False)


def test_an_array_outlives_the_block_that_counted_it():
    with count_allocations() as found:
        x = np.ones(100)
    assert get_handler_name(x) == "tinytorch_counting"
    x.resize(100_000, refcheck=False)
    assert x[:100].sum() == 100
    del x
    assert found.count == 1


def run(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )


def test_an_array_may_be_freed_after_the_interpreter_and_numba_is_not_loaded():
    ended = run(
        "import sys, builtins, numpy as np\n"
        "from tinytorch.measure.memory import count_allocations, measure_memory\n"
        "with count_allocations() as found:\n"
        "    builtins.kept = [np.ones(n) for n in (10, 100_000)]\n"
        "builtins.kept.append(builtins.kept)\n"
        "assert found.count == 2 and 'numba' not in sys.modules\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_numba_that_comes_in_meanwhile_makes_the_count_unknown():
    ended = run(
        "from tinytorch.measure.memory import measure_memory\n"
        "used = measure_memory(lambda: __import__('numba') and None)\n"
        "assert used.allocations is None and used.allocated_bytes is None, used\n"
        "assert used.peak_bytes > 0\n"
    )
    assert ended.returncode == 0, ended.stderr


def test_a_count_that_cannot_be_taken_is_none(monkeypatch):
    monkeypatch.setattr(memory, "_numpy_functions", lambda: None)
    used = measure_memory(np.empty, 1000)
    assert (used.allocations, used.allocated_bytes) == (None, None)
    assert used.peak_bytes >= 8000
    assert used.to_dict()["allocations"] is None


def test_resident_bytes_grow_with_touched_memory():
    size = 64 << 20
    before = resident_bytes()
    with mmap.mmap(-1, size) as fresh:  # the allocator may have pages at hand, the system has none
        fresh.write(b"\1" * size)
        assert resident_bytes() - before > size // 2
