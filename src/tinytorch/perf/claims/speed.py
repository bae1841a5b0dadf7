"""Claims about the speed of kernels: loops, blocks, vectors, temporaries, fusion."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.errors import VerificationError
from tinytorch.kernels import registry
from tinytorch.measure.clock import Comparison, Effort, compare, race
from tinytorch.measure.memory import measure_memory
from tinytorch.measure.stats import ratio_interval
from tinytorch.ops.spec import Array
from tinytorch.ops.verify import run_checked
from tinytorch.perf.claims.claim import Claim, Finding, Reading, ratio

_GELU = ((2000, 2000),)


def _square(n: int) -> tuple[tuple[int, int], ...]:
    return ((n, n), (n, n))


def _call(op: str, rung: str, inputs: tuple[Array, ...]) -> Callable[[], Any]:
    """Return a rung on inputs as a call, verified first; with an output of its own if it can."""
    kernel, described = registry.get(op, rung), ops.get(op)
    params = described.variants[0]
    check = run_checked(described, kernel, inputs, params)
    if not check.ok:
        raise VerificationError(f"{op}/{rung}: {check.reason}")
    call = functools.partial(kernel, *inputs, **params)
    return functools.partial(call, out=call()) if kernel.reuses_out else call


def versus(
    op: str, slow: str, fast: str, shapes: tuple[tuple[int, ...], ...], seconds: float
) -> Comparison:
    """Time two rungs of an op in turns on the same inputs, both verified."""
    inputs = ops.get(op).inputs(shapes)
    calls = _call(op, slow, inputs), _call(op, fast, inputs)
    return compare(*calls, names=(slow, fast), effort=Effort(seconds=seconds))


def _naive_against_library(seconds: float) -> Finding:
    readings = tuple(
        ratio(f"{n} x {n}", versus("matmul", "naive", "library", _square(n), seconds))
        for n in (32, 64, 128)
    )
    return Finding(
        readings,
        "the ratio grows with the size, because the loops' speed does not: each figure told is "
        "right for some size",
    )


def _blocked(seconds: float) -> Finding:
    found = [
        ratio(f"{n} x {n}", versus("matmul", "naive", "blocked", _square(n), seconds))
        for n in (64, 128)
    ]
    return Finding(
        tuple(found), "blocks go to BLAS, so most of it is leaving the interpreter, not the cache"
    )


def _order_alone(seconds: float) -> Finding:
    found = ratio(
        "compiled, 512 x 512", versus("matmul", "compiled", "tiled", _square(512), seconds)
    )
    return Finding(
        (found,),
        "both are compiled loops: what differs is the order in which memory is read, and the reuse "
        "of registers",
    )


def _library_against_blocked(seconds: float) -> Finding:
    found = [
        ratio(f"{n} x {n}", versus("matmul", "blocked", "library", _square(n), seconds))
        for n in (200, 500, 800)
    ]
    return Finding(tuple(found), "blocks of 64 are BLAS calls too small for its own blocking")


def _vectorised(seconds: float) -> Finding:
    size = ((100_000,), (100_000,))
    found = [
        ratio("add, 100k", versus("add", "naive", "vectorised", size, seconds)),
        ratio("relu, 100k", versus("relu", "naive", "unfused", size[:1], seconds)),
        ratio("gelu, 100k", versus("gelu", "naive", "unfused", size[:1], seconds)),
    ]
    return Finding(
        tuple(found), "the cheaper the operation, the larger the interpreter's share of a loop"
    )


def _in_place(seconds: float) -> Finding:
    return Finding(
        (
            ratio("gelu, 4M", versus("gelu", "unfused", "inplace", _GELU, seconds)),
            ratio("multiply, 4M", versus("multiply", "vectorised", "inplace", _GELU * 2, seconds)),
        ),
        "what is saved are fresh pages and traffic; tanh's arithmetic stays",
    )


def _fused(seconds: float) -> Finding:
    return Finding(
        (
            ratio("one thread's loop, 4M", versus("gelu", "unfused", "fused", _GELU, seconds)),
            ratio("all threads, 4M", versus("gelu", "unfused", "parallel", _GELU, seconds)),
        ),
        "fusion saves the traffic, and the loop's own tanh is faster than NumPy's",
    )


def _one_line(seconds: float) -> Finding:
    (x,) = ops.get("gelu").inputs(_GELU)
    root = np.float32(math.sqrt(2 / math.pi))

    def line() -> Array:
        inner = root * (x + np.float32(0.044715) * x * x * x)
        return np.asarray(np.float32(0.5) * x * (1 + np.tanh(inner)))

    steps = _call("gelu", "unfused", (x,))
    found = compare(steps, line, effort=Effort(seconds=seconds))
    return Finding(
        (ratio("4M", found),),
        "one line of NumPy runs the same loops over the same temporaries as eight lines",
    )


def _temporaries(seconds: float) -> Finding:
    (x,) = ops.get("gelu").inputs(((1_000_000,),))
    # Plain NumPy, as the sources write it: what it allocates, in units of the input.
    use = measure_memory(
        lambda: (
            np.float32(0.5)
            * x
            * (1 + np.tanh(np.float32(0.7978846) * (x + np.float32(0.044715) * x**3)))
        )
    )
    fused = measure_memory(registry.get("gelu", "fused"), x)
    return Finding(
        (
            Reading.exact("one line of NumPy, arrays", (use.allocations or 0), ""),
            Reading.exact("fused kernel, arrays", (fused.allocations or 0), ""),
        ),
        "NumPy reuses a temporary that nobody else holds, so fewer buffers are asked for than "
        "steps are made; traffic is as for eight",
    )


def _tile(seconds: float) -> Finding:
    inputs = ops.get("matmul").inputs(_square(1024))
    kernel = registry.get("matmul", "blocked")
    tiles = (32, 64, 128, 256, 512)
    calls = {str(t): functools.partial(kernel, *inputs, tile=t) for t in tiles}
    found = race(calls, effort=Effort(seconds=3 * seconds))
    best = min(found, key=lambda name: found[name].median)
    readings = [Reading.exact("fastest of 32 .. 512 at 1024 x 1024", float(best), "")]
    return Finding(
        tuple(readings),
        "each tile is a call of BLAS, which blocks for the caches itself: the whole product in one "
        "call is faster than any (library-10)",
    )


def _three_levels(seconds: float) -> Finding:
    op, size = ops.get("gelu"), ((1_000_000,),)
    inputs = op.inputs(size)
    loops = versus("gelu", "naive", "unfused", ((100_000,),), seconds)
    calls = {n: _call("gelu", n, inputs) for n in ("unfused", "parallel")}
    found = race(calls, effort=Effort(seconds=seconds))
    more = ratio_interval(found["unfused"].seconds, found["parallel"].seconds)
    whole = loops.ratio.median * more.median
    return Finding(
        (
            Reading(
                "gelu, loops to fused (two ratios multiplied)",
                whole,
                loops.ratio.low * more.low,
                loops.ratio.high * more.high,
            ),
        ),
        f"NumPy over loops {loops.ratio.median:.0f}x, the fused kernel over NumPy "
        f"{more.median:.1f}x",
    )


def _parallel_relu(seconds: float) -> Finding:
    found = versus("relu", "fused", "parallel", ((8_000_000,),), seconds)
    return Finding((ratio("8M", found),), "one pass over memory: bandwidth, not cores, is shared")


def _large_products(seconds: float) -> Finding:
    rates = {}
    for n in (1024, 2048):
        inputs = ops.get("matmul").inputs(_square(n))
        call = functools.partial(registry.get("matmul", "library"), *inputs)
        rates[n] = race({"library": call}, effort=Effort(seconds=2 * seconds))["library"].interval
    low, high = (8 * rates[1024].low / rates[2048].high, 8 * rates[1024].high / rates[2048].low)
    middle = 8 * rates[1024].median / rates[2048].median
    return Finding(
        (Reading("speed at 2048 over that at 1024", middle, low, high),),
        "the library's blocks stay in the caches at any size",
    )


_INF = math.inf

CLAIMS = (
    Claim("naive-100", "NumPy is 100 times faster than loops", 50, 200, _naive_against_library),
    Claim("naive-1000", "100-1000 times", 100, 1000, _naive_against_library),
    Claim("naive-2700", "2700 times and more", 2700, _INF, _naive_against_library),
    Claim("blocked-10-50", "blocking is 10-50 times faster than loops", 10, 50, _blocked),
    Claim("order-2-5", "memory access alone brings 2-5 times", 2, 5, _order_alone),
    Claim("library-10", "NumPy is 10 times faster than blocks", 7, 15, _library_against_blocked),
    Claim("library-50", "blocks are 50 times slower than NumPy", 35, 70, _library_against_blocked),
    Claim("vector-10-100", "vectorisation brings 10-100 times", 10, 100, _vectorised),
    Claim("vector-5-50", "vectorisation brings 5-50 times", 5, 50, _vectorised),
    Claim("inplace-1.5-2", "working in place brings 1.5-2 times", 1.5, 2, _in_place),
    Claim("inplace-1.5-3", "less allocation brings 1.5-3 times", 1.5, 3, _in_place),
    Claim("fused-3.2", "fused GELU is 3.2 times faster", 2.8, 3.6, _fused),
    Claim("fused-7-8", "fused GELU is 7 to 8 times faster", 6.5, 8.5, _fused),
    Claim("one-line", "one NumPy expression is a fused kernel (2-5 times faster)", 2, 5, _one_line),
    Claim("temporaries-7", "the unfused form makes seven intermediate arrays", 7, 8, _temporaries),
    Claim("hundredfold", "loops 1x, NumPy 10x, optimised kernels 100x", 70, 150, _three_levels),
    Claim("tile-64", "tiles of 64 (or 128) suit the caches best", 64, 128, _tile),
    Claim("large", "speed falls dramatically beyond 1024 x 1024", 0, 0.7, _large_products),
    Claim("parallel-relu", "parallel activations use all cores", 1.5, _INF, _parallel_relu),
)
