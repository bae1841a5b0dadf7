"""A timeline in Chrome's trace format: chrome://tracing and ui.perfetto.dev open it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinytorch.backends.recording import OpCall
from tinytorch.files import write_whole


def trace_events(calls: Sequence[OpCall], start: float) -> list[dict[str, Any]]:
    """Return one complete event ("X") a call; times in microseconds from `start`."""
    threads = {thread: i for i, thread in enumerate(dict.fromkeys(c.thread for c in calls))}
    names: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": i, "args": {"name": f"thread {i}"}}
        for i in threads.values()
    ]
    return names + [
        {
            "name": call.op,
            "cat": call.kernel,
            "ph": "X",
            "pid": 1,
            "tid": threads[call.thread],
            "ts": 1e6 * (call.start - start),
            "dur": 1e6 * call.seconds,
            "args": {
                "kernel": call.kernel,
                "backend": call.backend,
                "dtype": call.dtype,
                "shapes": [list(shape) for shape in call.shapes],
                "params": {k: str(v) for k, v in call.params.items()},
                "flops": call.cost.flops,
                "bytes_moved": call.cost.bytes_moved,
            },
        }
        for call in sorted(calls, key=lambda call: call.start)
    ]


def write_trace(calls: Sequence[OpCall], start: float, path: Path) -> Path:
    """Write the timeline as JSON."""
    events = trace_events(calls, start)
    return write_whole(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))
