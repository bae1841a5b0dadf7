from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.kernels import registry, warm
from tinytorch.kernels.registry import CONTIGUOUS, Kernel, Support, kernel, load_file

RUNGS = [(op, name) for op in ops.names() for name in registry.rung_names(op)]
IDS = [f"{op}-{name}" for op, name in RUNGS]

MATMUL_LADDER = {
    "naive",
    "reordered",
    "rows",
    "blocked",
    "compiled",
    "tiled",
    "parallel",
    "library",
}
GELU_LADDER = {"naive", "unfused", "inplace", "fused", "parallel"}


def F32(*shape: int) -> np.ndarray:  # noqa: N802
    return np.ones(shape, np.float32)


def test_ladders_hold_the_rungs_of_their_folders() -> None:
    assert set(registry.rung_names("matmul")) >= MATMUL_LADDER
    assert set(registry.rung_names("gelu")) >= GELU_LADDER
    assert set(registry.rung_names("relu")) >= GELU_LADDER
    for op, top in (("add", "parallel"), ("multiply", "parallel"), ("squared_difference", "fused")):
        assert set(registry.rung_names(op)) >= {"naive", "vectorised", "inplace", top}
    for op in ops.names():
        assert {rung.name for rung in registry.ladder(op)} == set(registry.rung_names(op))


@pytest.mark.parametrize("op", ops.names())
def test_each_rung_stands_on_one_below_it(op: str) -> None:
    seen: set[str] = set()
    for rung in registry.ladder(op):
        assert rung.above is None or rung.above in seen, f"{op}/{rung.name} floats"
        seen.add(rung.name)
    assert registry.ladder(op)[0].name == "naive"
    assert [rung.name for rung in registry.ladder(op) if rung.above is None] == ["naive"]


@pytest.mark.parametrize(("op", "name"), RUNGS, ids=IDS)
def test_each_rung_says_what_it_is(op: str, name: str) -> None:
    rung = registry.get(op, name)
    assert (rung.op, rung.name) == (op, name)
    assert rung.source.name == f"{name}.py"
    assert len(rung.idea) > 20
    assert set(rung.dtypes or ()) <= set(ops.get(op).dtypes)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownName, match="kernel of matmul 'libary': did you mean 'library'"):
        registry.get("matmul", "libary")
    with pytest.raises(UnknownName, match="unknown op 'matmull': did you mean 'matmul'"):
        registry.ladder("matmull")
    with pytest.raises(UnknownName, match="unknown op"):
        kernel("matmull")


def test_the_librarys_rungs_are_read_without_numba() -> None:
    program = (
        "import sys; from tinytorch.kernels import registry; registry.rung_names('matmul'); "
        "registry.get('matmul', 'library'); registry.get('gelu', 'inplace'); "
        "sys.exit('numba' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# What a kernel takes --------------------------------------------------------------------------


def test_refusals_say_what_is_taken() -> None:
    fused = registry.get("gelu", "fused")
    assert fused.refuses((F32(3, 4),)) is None
    assert fused.refuses((F32(3, 4).T,)) == "takes C-contiguous arrays of one shape"
    assert "got int64" in str(fused.refuses((np.arange(3),)))
    assert "got float16" in str(fused.refuses((F32(3).astype(np.float16),)))
    compiled = registry.get("add", "compiled")
    assert compiled.refuses((F32(3), F32(3))) is None
    assert compiled.refuses((F32(3), F32(1))) is not None
    mixed = compiled.refuses((F32(3), F32(3).astype(np.float64)))
    assert mixed == "takes one dtype of float32, float64; got float32, float64"


def test_bytes_in_foreign_order_are_not_for_compiled_loops() -> None:
    foreign = F32(3).astype(">f4" if sys.byteorder == "little" else "<f4")
    assert foreign.dtype.name == "float32"
    assert registry.get("gelu", "fused").refuses((foreign,)) is not None


def test_a_kernel_without_dtypes_takes_any() -> None:
    assert registry.get("matmul", "library").refuses((np.eye(2, dtype=complex),) * 2) is None


def test_the_decorator_keeps_what_it_is_told() -> None:
    even = Support("arrays with an even number of elements", lambda arrays: arrays[0].size % 2 == 0)

    @kernel("relu", above="naive", dtypes=("float32",), support=even, worthwhile_from=4)
    def mine(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Mine alone."""
        return np.maximum(x, 0, out=out)

    assert isinstance(mine, Kernel)
    assert (mine.op, mine.name, mine.above, mine.worthwhile_from) == ("relu", "mine", "naive", 4)
    assert mine.source == Path(__file__)
    assert mine.refuses((F32(4),)) is None
    assert mine.refuses((F32(3),)) == "takes arrays with an even number of elements"
    assert np.array_equal(mine(np.float32([-1, 2])), [0, 2])
    out = F32(2)
    assert mine(np.float32([-1, 2]), out=out) is out


def test_a_kernel_must_take_out() -> None:
    with pytest.raises(InvalidValue, match="'mine' must take out=None"):

        @kernel("relu")
        def mine(x: np.ndarray) -> np.ndarray:
            return x


# A user's own file ----------------------------------------------------------------------------

GOOD = '''
"""Rows times columns."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from tinytorch.kernels.matmul.library import library
from tinytorch.kernels.registry import kernel

@dataclass
class Tile:
    size: int = 8

@kernel("matmul")
def mine(a, b, out=None):
    return np.matmul(a, b, out=out)

@kernel("relu")
def other(x, out=None):
    return np.maximum(x, 0, out=out)
'''


def test_a_file_gives_its_own_kernels_in_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    found = load_file(path)
    assert [(k.op, k.name) for k in found] == [("matmul", "mine"), ("relu", "other")]
    assert found[0].source == path
    assert np.array_equal(found[0](np.eye(2), np.eye(2)), np.eye(2))


def test_a_compiled_function_can_be_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "jitted.py"
    path.write_text(
        "from tinytorch.kernels.registry import kernel\n"
        "from tinytorch.native.codecache import jit\n"
        "@kernel('relu')\n@jit\ndef mine(x, out=None):\n    return x\n"
    )
    assert [k.name for k in load_file(path)] == ["mine"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no kernel file at"),
        ("def f(:\n", "failed to run: SyntaxError"),
        ("raise RuntimeError('no luck')\n", "failed to run: RuntimeError: no luck"),
        ("import sys; sys.exit(3)\n", "failed to run: SystemExit: 3"),
        ("import tinytorch_no_such_module\n", "failed to run: ModuleNotFoundError"),
        ("def matmul(a, b):\n    return a @ b\n", "defines no kernel: decorate a function"),
        ("from tinytorch.kernels.matmul.library import library\n", "defines no kernel"),
        (
            "from tinytorch.kernels.registry import kernel\n"
            "@kernel('matmull')\ndef f(a, b, out=None): ...\n",
            "did you mean 'matmul'",
        ),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(
    text: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidValue, match=words) as caught:
        load_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# Warming up -----------------------------------------------------------------------------------


def test_warmup_calls_each_compiled_kernel_twice_a_type_and_variant() -> None:
    told: list[tuple[str, float]] = []
    ran = warm.warmup(["gelu", "relu"], ["float32"], lambda *state: told.append(state))
    rungs = [r for op in ("gelu", "relu") for r in registry.ladder(op) if not r.interpreted]
    assert told == [("gelu", 0.5), ("relu", 1.0)]
    assert ran == sum(2 * len(ops.get(rung.op).variants) for rung in rungs)


def test_warmup_prepares_models(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name, module in warm.MODELS.items():
        monkeypatch.setattr(f"{module}.prepare", lambda name=name: made.append(name))
    assert warm.warmup(["decoder", "encoder", "relu/unfused"], ["float32"]) == 4
    assert made == ["decoder", "encoder"]


def test_warmup_of_single_kernels_in_other_processes() -> None:
    told: list[str] = []
    names = ["gelu/unfused", "relu/unfused"]
    assert warm.warmup(names, ["float32"], lambda op, _: told.append(op), processes=2) == 6
    assert sorted(told) == ["gelu", "relu"]
    with pytest.raises(UnknownName, match="packed"):
        warm.warmup(["gelu/packed"])
    with pytest.raises(InvalidValue, match="at least 1"):
        warm.warmup(processes=0)


def test_contiguous_means_one_shape_too() -> None:
    assert CONTIGUOUS.test((F32(2, 3), F32(2, 3)))
    assert not CONTIGUOUS.test((F32(2, 3), F32(3, 2)))
    assert not CONTIGUOUS.test((F32(2, 3), F32(3, 2).T))
