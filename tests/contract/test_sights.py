"""What people see through kubectl is kept in docs/golden; `python -m tests.golden` writes it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden.kubectl import FOLDER, Kubectl, connect, explained, sight
from tests.golden.phases import Phases, phases

if TYPE_CHECKING:
    from tests.contract.conftest import Rollouts

_KEPT = sorted(file.stem for file in FOLDER.glob("*.txt") if file.stem != "explain")


@pytest.fixture(scope="module")
def kubectl(rollouts: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The real one, for the API server of these tests."""
    return connect(rollouts, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="module")
def played() -> Phases:
    """The object in each phase, as the operator has written it in the simulated world."""
    return phases()


def test_every_phase_is_kept(played: Phases) -> None:
    """There is a file for each phase that the scenarios come through, and for no other."""
    assert list(played) == _KEPT


@pytest.mark.parametrize("name", _KEPT)
def test_a_phase_looks_as_kept(rollouts: Rollouts, kubectl: Kubectl, played: Phases, name: str) -> None:
    """`kubectl get`, `get -o wide` and `describe` show what the file says."""
    assert sight(kubectl, rollouts, played[name]) == (FOLDER / f"{name}.txt").read_text()


def test_explain_looks_as_kept(kubectl: Kubectl) -> None:
    """`kubectl explain --recursive` lists the fields that the file lists."""
    assert explained(kubectl) == (FOLDER / "explain.txt").read_text()


@pytest.mark.parametrize("field", ["spec.analysis.alerts", "status.nextDecision", "status.history.took"])
def test_explain_describes_a_field(kubectl: Kubectl, field: str) -> None:
    """Whoever asks kubectl about a field is told what it means."""
    assert "DESCRIPTION:" in kubectl("explain", f"modelrollouts.{field}")
