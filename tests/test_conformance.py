"""One test over the registry: every rung on every size, dtype, layout and param of its op."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.kernels import conformance, registry
from tinytorch.ops.verify import outputs_of

CASES = [(rung.op, rung.name) for op in ops.names() for rung in registry.ladder(op)]


@pytest.mark.parametrize(("op", "name"), CASES, ids=[f"{op}-{name}" for op, name in CASES])
def test_rung_conforms(op: str, name: str) -> None:
    rung = registry.get(op, name)
    failures = [f for f in conformance.run(rung) if not f.check.ok]
    assert not failures, "\n".join(map(str, failures[:5]))


def test_every_case_is_run_or_refused_for_a_reason() -> None:
    outcomes = list(conformance.run(registry.get("gelu", "fused")))
    assert any(case.refused for case in outcomes)
    assert sum(not case.refused for case in outcomes) > 20
    assert all(case.refused is None or "takes" in case.refused for case in outcomes)


@pytest.mark.parametrize(("op", "name"), CASES, ids=[f"{op}-{name}" for op, name in CASES])
def test_out_that_does_not_fit_is_refused(op: str, name: str) -> None:
    rung = registry.get(op, name)
    described = ops.get(op)
    arrays = described.inputs(described.size("one").shapes, described.dtypes[0])
    expected = outputs_of(described, rung.function(*arrays)) or ()
    larger = tuple(np.empty((*one.shape, 3), one.dtype) for one in expected)
    too_large = larger if described.outputs > 1 else larger[0]
    with pytest.raises(ValueError, match=r"shape|out"):
        rung.function(*arrays, out=too_large)
