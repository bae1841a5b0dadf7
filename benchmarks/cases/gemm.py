"""Products: square, small, batched and tall-skinny, float32."""

from __future__ import annotations

from case import Bar, Case, Group, op_case

_RIVALS = ("NumPy", "PyTorch")
_PEERS = ("tinytorch", "NumPy", "PyTorch", "JAX")


def _product(M: int, K: int, N: int, quick: bool = False) -> Case:
    name = f"matmul {M}" if M == K == N else f"matmul {M}x{K}x{N}"
    return op_case(name, "matmul", ((M, K), (K, N)), quick=quick)


def _batch(B: int, M: int, K: int, N: int, quick: bool = False) -> Case:
    return op_case(f"matmul {B} of {M}x{K}x{N}", "matmul", ((B, M, K), (B, K, N)), quick=quick)


def groups() -> tuple[Group, ...]:
    """Return the square products, and those where overhead or shape decides."""
    sizes = (512, 768, 1024, 1536, 2048, 4096)
    square = tuple(_product(n, n, n, quick=n in (512, 1024)) for n in sizes)
    small = (
        *(_product(n, n, n, quick=n in (16, 64)) for n in (8, 16, 24, 32, 48, 64)),
        _batch(1024, 8, 8, 8),
        _batch(512, 16, 16, 16, quick=True),
        _batch(256, 32, 32, 32),
        _batch(64, 64, 64, 64),
        _batch(96, 128, 32, 128),
        _product(4096, 64, 16, quick=True),
        _product(16, 64, 4096),
        _product(4096, 256, 32),
        _product(64, 256, 2048),
        _product(2000, 100, 8),
    )
    return (
        Group(
            "square",
            "Square products",
            square,
            _PEERS,
            (Bar("of the faster of NumPy and PyTorch, on each", 0.95, _RIVALS),),
            20,
        ),
        Group(
            "small",
            "Small, batched and tall-skinny products",
            small,
            _PEERS,
            (Bar("the faster of NumPy and PyTorch, geometric mean", 1.3, _RIVALS, each=False),),
            21,
        ),
    )
