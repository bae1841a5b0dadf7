"""INT8 linear layers beside our float32 ones, and beside dynamic INT8 of other engines.

`python benchmarks/int8.py [--quick] [--peer-python PATH] [--activation none gelu] [--weights ...]`.
Rows become codes in the call (dynamic, a scale a row); weights are packed beforehand. Every layer
is checked against float32, then all take turns; a peer runs in a process of its own under PATH, an
interpreter that has onnx, onnxruntime and torch. Prints, for each size, billions of multiply-adds
a second, and our speed over each other's, by medians; then geometric means.

The INT8 peak is the register tile's, with nothing else done (measure/int8_peak.py).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from int8_peer import LAYERS, _samples

from tinytorch.kernels import registry
from tinytorch.kernels.quantized import prepack, quantized_linear
from tinytorch.measure.int8_peak import measure_peak
from tinytorch.native import threads

Turn = Callable[[float], list[float]]


def inputs(tokens: int, K: int, weights: str) -> tuple[Any, Any, Any]:
    """Return x, w, b: activations of a unit normal; weights of one, uniform, or heavy-tailed."""
    rng = np.random.default_rng([tokens, K])
    x = rng.standard_normal((tokens, K)).astype(np.float32)
    draw = {
        "normal": lambda shape: rng.standard_normal(shape),
        "uniform": lambda shape: rng.uniform(-1.7, 1.7, shape),
        "heavy": lambda shape: rng.standard_t(4, shape),
    }[weights]
    w = (draw((K, 4 * K)) / math.sqrt(K)).astype(np.float32)
    return x, w, rng.standard_normal(4 * K).astype(np.float32)


class Peer:
    """Another engine in a process of its own."""

    def __init__(self, python: str, name: str) -> None:
        command = [python, str(Path(__file__).parent / "int8_peer.py")]
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, order: dict[str, Any]) -> Any:
        """Send an order and return the answer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended: see its message above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def compare(
    x: Any, w: Any, b: Any, activation: str, peers: list[Peer], seconds: float
) -> dict[str, float]:
    """Return the median seconds of each layer: ours in INT8 and float32, and the peers'."""
    packed = prepack(w)
    ours, real = (np.empty((len(x), w.shape[1]), np.float32) for _ in range(2))
    linear = registry.get("linear", "fused").function
    calls: dict[str, Callable[[], Any]] = {
        "int8": lambda: quantized_linear(x, packed, b, activation, ours),
        "float32": lambda: linear(x, w, b, out=real, activation=activation),
    }
    for call in calls.values():
        call()
    # Two steps of 7-bit codes, as independent errors: what any of these engines stays under.
    most = 0.1 * float(np.abs(real).max()) + 0.1
    if not np.abs(ours - real).max() < most:
        raise SystemExit(f"INT8 differs from float32 by {np.abs(ours - real).max()}")
    turns: dict[str, Turn] = {
        name: lambda s, call=call: _samples(call, s)  # type: ignore[misc]
        for name, call in calls.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("x", x), ("w", w), ("b", b), ("y", real)):
            np.save(Path(folder) / f"{name}.npy", array)
        for peer in peers:
            order = {"folder": folder, "peer": peer.name, "activation": activation}
            difference = peer.ask({"setup": {**order, "threads": threads.get_num_threads()}})
            if not difference < most:
                raise SystemExit(f"{peer.name} differs from float32 by {difference}")
            turns[peer.name] = lambda s, peer=peer: peer.ask({"run": s})  # type: ignore[misc]
        samples: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(5):
            for name, turn in turns.items():
                samples[name] += turn(seconds / 5)
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> None:
    """Compare the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer-python", help="an interpreter that has the peers")
    parser.add_argument("--activation", nargs="+", default=["none", "gelu"])
    parser.add_argument("--weights", nargs="+", default=["normal"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512, 1024, 4096])
    parser.add_argument("--width", type=int, nargs="+", default=[384, 768])
    asked = parser.parse_args()
    peak, name = measure_peak(threads.get_num_threads())
    print(f"INT8 peak {peak:.1f} GMAC/s ({name}, {threads.get_num_threads()} threads)")
    peers = [Peer(asked.peer_python, peer) for peer in LAYERS] if asked.peer_python else []
    ratios: dict[str, list[float]] = {}
    for weights in asked.weights:
        for activation in asked.activation:
            for K in asked.width:
                for tokens in asked.tokens:
                    layer = inputs(tokens, K, weights)
                    seconds = 0.3 if asked.quick else 1.0
                    found = compare(*layer, activation, peers, seconds)
                    macs = tokens * K * 4 * K / 1e9
                    speed = macs / found["int8"]
                    row = [f"{weights:8}{activation:5}{tokens:5}x{K}x{4 * K:5} {speed:6.1f} GMAC/s"]
                    row.append(f"({speed / peak:.2f} of peak)")
                    for other, median in found.items():
                        if other != "int8":
                            ratio = median / found["int8"]
                            key = f"{weights} {activation} over {other}"
                            ratios.setdefault(key, []).append(ratio)
                            row.append(f"{other} x{ratio:.2f}")
                    print("  ".join(row), flush=True)
    for peer in peers:
        peer.close()
    for key, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{key}: geometric mean {mean:.2f}, least {min(values):.2f}")


if __name__ == "__main__":
    main()
