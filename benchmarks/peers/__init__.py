"""The peers: who they are, and what a peer's module holds.

A module here is one peer: `start(threads)` loads its library and returns the version, and `MAKERS`
maps a kind of case to a maker, `maker(params, *arrays) -> Run`. The modules import their own
library and NumPy, never each other's and never tinytorch (`ours` and `numpy_blas` apart).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Maker = Callable[..., "Run"]


class Absent(Exception):
    """This peer can't do the case; the text says why."""


@dataclass(frozen=True)
class Run:
    """What a peer runs: `call` computes once and returns an array or a tuple of them.

    preallocated: whether the output is written into memory that was there before the call.
    note: what a reader should know about how the peer was asked.
    check: what is called, once, for the outputs to be verified, where that is not `call`.
    """

    call: Callable[[], Any]
    preallocated: bool = True
    note: str = ""
    check: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Peer:
    """A peer's name in tables, its module, what it is installed by, and a variant of it.

    yardstick: not a rival but something to be held against (a copy, our own float32).
    """

    name: str
    module: str
    package: str
    variant: str = ""
    yardstick: bool = False


OURS = "tinytorch"
_ALL = (
    Peer(OURS, "peers.ours", "tinytorch"),
    Peer("NumPy", "peers.numpy_blas", "numpy"),
    Peer("PyTorch", "peers.pytorch", "torch"),
    Peer("torch.compile", "peers.pytorch", "torch", "compile"),
    Peer("JAX", "peers.jax_jit", "jax"),
    Peer("ONNX Runtime", "peers.onnx_runtime", "onnxruntime"),
    Peer("numexpr", "peers.num_expr", "numexpr"),
    Peer("Numba", "peers.plain_numba", "numba"),
    Peer("SciPy", "peers.scipy_sparse", "scipy"),
    Peer("copy", "peers.ours", "tinytorch", "copy", yardstick=True),
    Peer("copy past caches", "peers.ours", "tinytorch", "copy past caches", yardstick=True),
    Peer("in cache", "peers.ours", "tinytorch", "in cache", yardstick=True),
    Peer("our float32", "peers.ours", "tinytorch", "float32", yardstick=True),
    Peer("our dense", "peers.ours", "tinytorch", "dense", yardstick=True),
    Peer("ONNX Runtime INT8", "peers.onnx_runtime", "onnxruntime", "int8", yardstick=True),
    Peer("INT8 peak", "peers.ours", "tinytorch", "peak", yardstick=True),
    Peer("float32 peak", "peers.ours", "tinytorch", "float32 peak", yardstick=True),
)
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}
