"""What the chart's tests work with: Helm 4 and 3, built from their modules."""

from __future__ import annotations

import pytest

from playground.toolchain.gobuild import HELM, Program
from tests.chart.helm import Helm


@pytest.fixture(
    scope="session", params=[pytest.param(program, id=program.module, marks=pytest.mark.long) for program in HELM]
)
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each of them in turn; built now if it is not in the cache, which takes minutes."""
    program: Program = request.param
    return Helm.built(program)
