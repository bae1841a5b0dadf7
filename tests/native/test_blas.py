"""OpenBLAS on our pool: its results, in other threads, and in a process that was forked."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from tinytorch.native import blas, threads

needs_adoption = pytest.mark.skipif(
    threads.usable_cpus() < 2 or not blas.adopt(), reason="one CPU, or no OpenBLAS that can be told"
)


@needs_adoption
def test_openblas_holds_the_address_of_our_function() -> None:
    libraries = ThreadpoolController().select(internal_api="openblas").lib_controllers
    places = (
        ctypes.c_void_p.in_dll(ctypes.CDLL(library.filepath), "openblas_threads_callback_")
        for library in libraries
    )
    # One that was loaded since (SciPy brings its own) has none.
    assert blas._performer().address in [place.value for place in places]


@needs_adoption
def test_products_and_solutions_stay_right() -> None:
    a = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32)
    shared = a @ a
    with threads.use_threads(1):
        alone = a @ a
    np.testing.assert_allclose(shared, alone, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.linalg.solve(a, shared), a, rtol=1e-1, atol=1e-1)


@needs_adoption
def test_python_threads_may_multiply_at_once() -> None:
    a = np.random.default_rng(0).standard_normal((256, 256))
    expected = a @ a
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: a @ a, range(40)))
    assert all(np.allclose(product, expected) for product in found)


_FORKED = """
import os, sys, numpy as np
from tinytorch.kernels import registry
from tinytorch.native import blas
a = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)
x = np.ones(1 << 20, np.float32)
registry.get("gelu", "parallel").function(x)
assert blas._adopted
product = a @ a
if os.fork() == 0:
    os._exit(0 if np.allclose(a @ a, product, atol=1e-2) else 1)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@needs_adoption
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKED], timeout=120)
    assert done.returncode == 0
