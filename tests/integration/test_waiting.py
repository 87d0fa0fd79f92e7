"""`kubectl wait`, as scripts and GitOps tools use it: conditions speak about the spec that was just applied."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from tests.situations import NEXT, STABLE, quick, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene


def _kubectl_wait(here: Scene, condition: str) -> None:
    """Come back when the condition holds for the generation that is in the cluster now."""
    kubectl = lifecycle.binaries().controlplane / "kubectl"
    command = [str(kubectl), "--kubeconfig", str(here.state.host_kubeconfig)]
    command += ["wait", f"modelrollout/{here.name}", f"--for=condition={condition}", "--timeout=120s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("condition", ["Ready", pytest.param("Progressing=False", marks=pytest.mark.long)])
def test_kubectl_wait_comes_back_when_it_is_over(scene: Callable[[str], Scene], condition: str) -> None:
    """Right after an apply the conditions of before do not count: it returns when the new version is promoted."""
    here = scene(f"wait-{condition.split('=', maxsplit=1)[0].lower()}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _kubectl_wait(here, condition)
        assert here.status()["stable"]["version"] == STABLE
        here.kube.apply(quick(here, NEXT))
        _kubectl_wait(here, condition)
        status = here.status()
    assert (status["phase"], status["stable"]["version"]) == ("Healthy", NEXT)
    assert not {"Reconciling", "Stalled"} & {item["type"] for item in status["conditions"]}
