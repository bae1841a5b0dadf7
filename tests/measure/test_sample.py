from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from tinytorch.errors import InvalidValue
from tinytorch.measure.sample import SCHEMA, Environment, Measurement, to_pyperf
from tinytorch.native import threads

HERE = Environment(
    fingerprint="0123456789abcdef",
    cpu_model="A CPU",
    isa="avx2",
    usable_cpus=4,
    threads=2,
    blas="openblas 0.3",
    versions={"numpy": "2.4.0"},
    os="Linux",
    load=None,
    taken_at="2025-02-03T04:05:06+00:00",
)
TAKEN = Measurement(
    name="library",
    seconds=(0.010, 0.012, 0.011, 0.010, 0.011, 0.012, 0.013),
    loops=3,
    warmups=4,
    first_call_seconds=0.5,
    cache="hot",
    stopped="interval",
    environment=HERE,
    metadata={"op": "matmul", "size": "256", "dtype": "float32", "flops": 10},
)


def test_json_round_trip() -> None:
    again = Measurement.from_dict(json.loads(json.dumps(TAKEN.to_dict())))
    assert again == TAKEN
    assert isinstance(again.seconds, tuple)
    assert isinstance(again.environment, Environment)


def test_plain_data_carries_what_is_derived() -> None:
    data = TAKEN.to_dict()
    assert data["schema"] == SCHEMA
    assert data["interval"] == TAKEN.interval.to_dict()
    assert data["interval"]["median"] == TAKEN.median == 0.011
    assert [c["rule"] for c in data["criticisms"]] == ["wide interval"]


@pytest.mark.parametrize("schema", ["tinytorch.measurement/2", "pyperf", None])
def test_another_schema_is_refused(schema: str | None) -> None:
    data = {**TAKEN.to_dict(), "schema": schema}
    with pytest.raises(InvalidValue, match="expected a measurement of schema"):
        Measurement.from_dict(data)
    del data["schema"]
    with pytest.raises(InvalidValue, match="got None"):
        Measurement.from_dict(data)


def test_a_measurement_can_not_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TAKEN.seconds = (1.0,)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        TAKEN.environment.threads = 8  # type: ignore[misc]


def test_a_sample_that_is_short_as_a_whole_is_criticised() -> None:
    short = replace(TAKEN, seconds=(1e-8,) * 9, loops=100)
    assert [c.rule for c in short.criticisms] == ["short samples"]
    assert replace(short, loops=100_000).criticisms == ()


def test_environment_describes_this_moment() -> None:
    seen = Environment.now()
    assert seen.threads == threads.get_num_threads()
    assert seen.usable_cpus == threads.usable_cpus()
    assert {"python", "numpy", "numba"} <= set(seen.versions)
    assert seen.taken_at.endswith("+00:00")
    with threads.use_threads(1):
        assert Environment.now().threads == 1


def test_pyperf_export() -> None:
    exported = json.loads(to_pyperf([TAKEN, replace(TAKEN, name="naive", metadata={})]))
    assert exported["version"] == "1.0"
    first, second = exported["benchmarks"]
    assert first["metadata"] == {
        "name": "matmul library 256 float32",
        "unit": "second",
        "loops": 3,
        "cpu_model_name": "A CPU",
        "date": "2025-02-03 04:05:06",
    }
    assert first["runs"] == [{"metadata": {}, "values": list(TAKEN.seconds)}]
    assert second["metadata"]["name"] == "naive"


def test_pyperf_refuses_a_name_twice_so_names_differ() -> None:
    larger = replace(TAKEN, metadata={**TAKEN.metadata, "size": "512"})
    exported = json.loads(to_pyperf([TAKEN, larger, TAKEN]))
    assert [b["metadata"]["name"] for b in exported["benchmarks"]] == [
        "matmul library 256 float32",
        "matmul library 512 float32",
        "matmul library 256 float32 #2",
    ]
