"""The sources' claims that only a measurement can judge, each measured here; see docs/claims.md."""

from __future__ import annotations

from tinytorch.perf.claims import machine, network, speed
from tinytorch.perf.claims.claim import Claim, Finding, Judged, Reading, judge

CLAIMS: tuple[Claim, ...] = (*speed.CLAIMS, *machine.CLAIMS, *network.CLAIMS)

__all__ = ["CLAIMS", "Claim", "Finding", "Judged", "Reading", "judge"]
