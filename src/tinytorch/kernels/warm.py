"""Compile every kernel beforehand, so that no user waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinytorch import ops
from tinytorch.kernels import registry


def warmup(
    names: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    on_kernel: Callable[[str, float], None] | None = None,
) -> int:
    """Call every compiled kernel of the named ops (default: all) once, and return how many ran.

    What is compiled is kept on disk, so other processes load it in milliseconds.
    """
    chosen = [ops.get(name) for name in (names or ops.names())]
    rungs = [r for op in chosen for r in registry.ladder(op.name) if not r.interpreted]
    ran = 0
    for i, rung in enumerate(rungs):
        if on_kernel:
            on_kernel(f"{rung.op}/{rung.name}", i / len(rungs))
        op = ops.get(rung.op)
        for dtype in set(op.dtypes) & set(dtypes or op.dtypes):
            for params in op.variants:
                arrays = op.inputs(op.size("one").shapes, dtype)
                if rung.refuses(arrays) is None:
                    rung.function(*arrays, **params)
                    ran += 1
    if names is None:
        _compile_models()
    return ran


def _compile_models() -> None:
    """Compile what whole models run on: an encoder's layers, and a decoder's step."""
    from tinytorch.native.decoder import decoder
    from tinytorch.native.encoder import encoder

    encoder.prepare()
    decoder.prepare()
