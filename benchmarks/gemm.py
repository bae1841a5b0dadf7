"""Our GEMM beside NumPy's BLAS: verified first, then timed in turns; outputs preallocated on both.

`python benchmarks/gemm.py [--quick] [--dtype float64] [--threads 1 2] [group ...]`; groups are
square, small, batched, skinny, linear. Prints, for each case, how many times faster we are, with
the interval; for each group the geometric mean.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator

from tinytorch import ops
from tinytorch.errors import VerificationError
from tinytorch.kernels import registry
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.clock import Effort, compare
from tinytorch.measure.units import ratio_text
from tinytorch.native import threads
from tinytorch.ops.spec import Params, Shapes
from tinytorch.ops.verify import run_checked

Case = tuple[str, Shapes, Params, str]


def _products(*sizes: tuple[int, int, int]) -> Iterator[Case]:
    for M, K, N in sizes:
        yield "matmul", ((M, K), (K, N)), {}, "library"


def _batches(*sizes: tuple[int, int, int, int]) -> Iterator[Case]:
    for B, M, K, N in sizes:
        yield "matmul", ((B, M, K), (B, K, N)), {}, "library"


def _layers() -> Iterator[Case]:
    for rung in ("inplace", "unfused"):
        for K in (384, 768):
            for tokens in (128, 512, 1024, 4096):
                shapes = ((tokens, K), (K, 4 * K), (4 * K,))
                yield "linear", shapes, {"activation": "gelu"}, rung


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "square": lambda: _products(*((n, n, n) for n in (128, 256, 512, 1024, 1536, 2048))),
    "small": lambda: _products(*((n, n, n) for n in (8, 16, 24, 32, 48, 64))),
    "batched": lambda: _batches(
        (1024, 8, 8, 8), (512, 16, 16, 16), (256, 32, 32, 32), (64, 64, 64, 64), (96, 128, 32, 128)
    ),
    "skinny": lambda: _products(
        (4096, 64, 16), (16, 64, 4096), (4096, 256, 32), (64, 256, 2048), (2000, 100, 8)
    ),
    "linear": _layers,
}
_OURS = {"matmul": "packed", "linear": "fused"}


def _call(case: Case, rung: str, dtype: str) -> Callable[[], object]:
    """Return a verified call of a rung on a case's inputs, into an output of its own."""
    name, shapes, params, _ = case
    op = ops.get(name)
    inputs = op.inputs(shapes, dtype)
    function = registry.get(name, rung).function
    out = aligned_empty(op.output_shape(shapes, **params), dtype)
    run_checked(op, function, inputs, params, out).require(f"{name}/{rung}")
    return lambda: function(*inputs, out=out, **params)


def _measure(case: Case, dtype: str, effort: Effort) -> tuple[float, str]:
    name, shapes, params, rival = case
    op = ops.get(name)
    found = compare(_call(case, rival, dtype), _call(case, _OURS[name], dtype), effort=effort)
    flops = op.cost(shapes, dtype, params).flops
    speeds = (flops / m.median / 1e9 for m in (found.candidate, found.baseline))
    ours, theirs = (f"{speed:.1f}" for speed in speeds)
    size = ":".join("x".join(map(str, shape)) for shape in shapes)
    text = f"{name} {size:34} against {rival:8} {ratio_text(found.ratio):28} "
    return found.ratio.median, text + f"{ours} and {theirs} GFLOP/s"


def main() -> int:
    """Measure the groups asked for; 1 if a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, threads.usable_cpus()])
    asked = parser.parse_args()
    unknown = [group for group in asked.groups if group not in GROUPS]
    if unknown:
        parser.error(f"no group {unknown[0]!r}: choose from {', '.join(GROUPS)}")
    effort = Effort(seconds=0.5 if asked.quick else 2.0, relative_width=0.02)
    for count in dict.fromkeys(asked.threads):
        threads.set_num_threads(count)
        for group in asked.groups or GROUPS:
            print(f"--- {group}, {asked.dtype}, {count} thread(s)")
            ratios = []
            for case in GROUPS[group]():
                try:
                    ratio, text = _measure(case, asked.dtype, effort)
                except VerificationError as error:
                    print(f"WRONG {error}")
                    return 1
                ratios.append(ratio)
                print(text, flush=True)
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"geometric mean of {len(ratios)}: {mean:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
