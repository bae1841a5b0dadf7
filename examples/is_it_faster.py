"""Is my new version faster? Two ways to cube an array, compared as they should be.

    python examples/is_it_faster.py
    python examples/is_it_faster.py --elements 1000

Replace `before` and `after` by two functions of yours. The command line does the same for functions
that take no arguments: `tito compare mymodule:before mymodule:after`.
"""

from __future__ import annotations

import argparse

import numpy as np

from tinytorch.measure.clock import Effort, compare
from tinytorch.measure.units import interval_text, ratio_text


def before(x: np.ndarray) -> np.ndarray:
    """Return x cubed, as it is written on paper."""
    return x**3


def after(x: np.ndarray) -> np.ndarray:
    """Return x cubed, in two products."""
    return x * x * x


def main() -> None:
    """Check that both agree, time them in turns, and say what that proves."""
    parser = argparse.ArgumentParser(description="Compare two functions.")
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=1.0, help="time to measure for")
    asked = parser.parse_args()

    x = np.random.default_rng(0).standard_normal(asked.elements).astype(np.float32)
    # Right first: each may round a few times, so a few times the spacing of numbers is allowed.
    np.testing.assert_allclose(before(x), after(x), rtol=4 * np.finfo(x.dtype).eps)

    found = compare(
        lambda: before(x),
        lambda: after(x),
        names=("before", "after"),
        effort=Effort(seconds=asked.seconds),
    )
    for taken in (found.baseline, found.candidate):
        print(f"{taken.name:7} {interval_text(taken.interval)}, stopped by {taken.stopped}")
        for criticism in taken.criticisms:
            print(f"        shaky ({criticism.rule}): {criticism.advice}")
    print(f"before / after: {ratio_text(found.ratio)}")
    print(f"verdict: after is {found.verdict}")


if __name__ == "__main__":
    main()
