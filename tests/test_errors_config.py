from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch import config, errors
from tinytorch.errors import InvalidValue, MissingDependency, TinyTorchError, UnknownName

# Errors ---------------------------------------------------------------------------------------


def test_all_errors_are_one_family() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    family = [c for c in classes if c.__module__ == errors.__name__]
    assert len(family) >= 8
    assert all(issubclass(c, TinyTorchError) for c in family)
    for bad_value in (errors.ShapeError, InvalidValue, UnknownName, errors.UnsupportedInput):
        assert issubclass(bad_value, ValueError)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("matmull", "matmul"), ("mat", "matmul"), ("gleu", "gelu"), ("qqqq", None), ("", None)],
)
def test_an_unknown_name_offers_the_nearest(name: str, nearest: str | None) -> None:
    error = UnknownName("op", name, ["relu", "matmul", "gelu"])
    assert error.nearest == nearest
    said = str(error)
    assert said.startswith(f"unknown op {name!r}: ")
    assert ("did you mean" in said) == (nearest is not None)
    assert said.endswith("(known: gelu, matmul, relu)")


def test_an_unknown_name_among_none() -> None:
    assert "(known: none)" in str(UnknownName("kernel", 3, []))


def test_a_missing_library_says_how_to_get_it() -> None:
    error = MissingDependency("scikit-learn", "the journey's data", "pip install x[demo]")
    assert isinstance(error, ImportError)
    assert str(error) == (
        "the journey's data needs scikit-learn, which is not installed: run `pip install x[demo]`"
    )


@pytest.mark.parametrize(
    "error",
    [
        UnknownName("op", "matmull", ["matmul"]),
        MissingDependency("a", "b", "c"),
        InvalidValue("seen 3"),
        errors.MeasurementError("no clock"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_come_back_from_other_processes(error: TinyTorchError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


# Switches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("TINYTORCH_BACKEND", "numpy", "numpy"),
        ("TINYTORCH_NUM_THREADS", "3", 3),
        ("TINYTORCH_CACHE_DIR", "/some/where", Path("/some/where")),
        ("TINYTORCH_ISA", "avx2", "avx2"),
        ("TINYTORCH_TUNE", "1", True),
        ("TINYTORCH_TUNE", "YES", True),
        ("TINYTORCH_TUNE", "0", False),
        ("TINYTORCH_TUNE", "", None),
        ("TINYTORCH_NUM_THREADS", "", None),
    ],
)
def test_switches_are_read(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    assert config.get(name) == value
    monkeypatch.delenv(name)
    assert config.get(name) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("TINYTORCH_NUM_THREADS", "0", "must be at least 1"),
        ("TINYTORCH_NUM_THREADS", "-2", "must be at least 1"),
        ("TINYTORCH_NUM_THREADS", "two", "'two'"),
        ("TINYTORCH_ISA", "avx1024", "must be avx512, avx2 or v128"),
        ("TINYTORCH_TUNE", "maybe", "must be 1 or 0"),
    ],
)
def test_a_switch_that_can_not_be_read_says_what_was_seen(
    name: str, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(InvalidValue, match=words) as caught:
        config.get(name)
    assert f"{name}={text!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_switches_are_described() -> None:
    assert len({switch.name for switch in config.SWITCHES}) == len(config.SWITCHES)
    for switch in config.SWITCHES:
        assert switch.name.startswith("TINYTORCH_")
        assert switch.help and switch.unset


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYTORCH_CACHE_DIR", str(tmp_path))
    assert config.cache_dir() == tmp_path
    monkeypatch.delenv("TINYTORCH_CACHE_DIR")
    assert config.cache_dir().name.lower() == "tinytorch" or "tinytorch" in str(config.cache_dir())


def test_no_other_module_reads_our_switches() -> None:
    source = Path(config.__file__).parent
    ours = re.compile(r"(?:environ|getenv)\W+(?:get\W+)?TINYTORCH_")
    readers = [p for p in source.rglob("*.py") if ours.search(p.read_text(encoding="utf-8"))]
    assert readers == []
    assert ours.search('os.environ.get("TINYTORCH_TUNE")')  # so the test can fail
    assert ours.search('os.environ["TINYTORCH_TUNE"]')


def test_errors_and_config_import_nothing_heavy() -> None:
    program = (
        "import sys; import tinytorch.config, tinytorch.errors; "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'numba', 'scipy', 'platformdirs')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
