"""Python threads over the items of a batch, with the CPUs shared out among them."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tinytorch.errors import InvalidValue
from tinytorch.native import threads

# Runs of items that a worker takes one after the other: few enough to cost nothing, enough to even
# out their times.
_RUNS_PER_WORKER = 4

_limiting = threading.Lock()


@contextlib.contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let kernels and BLAS use at most `count` threads inside.

    The number belongs to the whole process, so within a block that limits it already, in whatever
    thread, a second one changes nothing: each would undo what the other did.
    """
    if count >= threads.get_num_threads() or not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with threads.use_threads(count):
            yield
    finally:
        _limiting.release()


def checked_workers(value: Any) -> int:
    """Return the number of workers; raises InvalidValue unless it is an int of at least 1."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
        raise InvalidValue(f"num_workers must be an int of at least 1, got {value!r}")
    return int(value)


def run_each(operation: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[Any]:
    """Return `operation` of each item, in order.

    The first exception, in the order of the items, is raised; runs not begun by then are dropped.
    Each worker's kernels and BLAS get their share of the threads.
    """
    workers = min(workers, len(items))
    if workers < 2:
        return [operation(item) for item in items]
    count = min(len(items), _RUNS_PER_WORKER * workers)
    cuts = [i * len(items) // count for i in range(count + 1)]
    runs = [items[first:last] for first, last in itertools.pairwise(cuts)]
    # NOTE: threads start with an empty context, without the caller's `use_backend` and `errstate`.
    contexts = [contextvars.copy_context() for _ in runs]

    def work(context: contextvars.Context, run: Sequence[Any]) -> list[Any]:
        return context.run(lambda: [operation(item) for item in run])

    share = max(1, threads.get_num_threads() // workers)
    with at_most(share), ThreadPoolExecutor(workers) as pool:
        return list(itertools.chain.from_iterable(pool.map(work, contexts, runs)))
