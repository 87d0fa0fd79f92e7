"""What Git holds and what the cluster has never differ, whatever a rollout does: no ignore rules, no flapping."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from modelrollout.cli import request
from playground import lifecycle
from playground.paths import REPOSITORY
from tests.situations import NEXT, STABLE, ended, healthy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playground.scene import Scene

# As Argo CD applies with ServerSideApply=true, and as it and everybody else applies without.
WAYS = {
    "server-side": ("--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
    "client-side": (),
}
SLOW = {"versions": {str(NEXT): {"load_seconds": 3}}}


class Git:
    """A manifest in Git, which is applied and compared in one of the ways."""

    def __init__(self, scene: Scene, way: str, folder: Path) -> None:
        """An example of ours, with versions, times and names of this test."""
        self.scene, self.flags, self.file = scene, WAYS[way], folder / "rollout.yaml"
        manifest = yaml.safe_load((REPOSITORY / "examples" / "cpu.yaml").read_text())
        manifest["metadata"]["name"] = scene.name
        manifest["metadata"]["annotations"] = {
            "argocd.argoproj.io/tracking-id": "models:modelrollout.io/ModelRollout:x"
        }
        manifest["spec"]["model"] = {"basePath": f"/models/{scene.name}", "version": STABLE}
        manifest["spec"]["traffic"]["gatewayAPI"]["hostnames"] = [scene.host]
        for step in manifest["spec"]["strategy"]["steps"]:
            step["duration"] = "5s"
        manifest["spec"]["strategy"].update(bake={"duration": "6s"}, drainDuration="4s")
        self.manifest: dict[str, Any] = manifest

    def commit(self, version: int) -> None:
        """Change the version, and sync."""
        self.manifest["spec"]["model"]["version"] = version
        self.file.write_text(yaml.safe_dump(self.manifest))
        done = self._kubectl("apply", *self.flags)
        assert done.returncode == 0, done.stderr

    def ask(self, token: str) -> None:
        """What a click in Argo CD does, and the command line too."""
        done = self._run("annotate", "ModelRollout", self.scene.name, f"modelrollout.io/request={token}")
        assert done.returncode == 0, done.stderr

    def drift(self) -> tuple[str, str]:
        """What a dry run of the same manifest would change, and the phase that was so all the while.

        kubectl reads the object and then asks: what the operator writes in between looks like a difference once.
        """
        while True:
            before = self.scene.rollout()
            done = self._kubectl("diff", *self.flags)
            assert done.returncode in {0, 1}, done.stderr
            after = self.scene.rollout()
            quiet = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
            phases = {item.get("status", {}).get("phase", "") for item in (before, after)}
            if len(phases) == 1 and (quiet or not done.stdout):
                return done.stdout, phases.pop()

    def _kubectl(self, verb: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return self._run(verb, *flags, "-f", str(self.file))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kubectl = lifecycle.binaries().controlplane / "kubectl"
        command = [str(kubectl), "--kubeconfig", str(self.scene.state.host_kubeconfig), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def _watched(git: Git, over: Callable[[Any], bool]) -> dict[str, str]:
    """By phase what would have been changed, until the rollout is over."""
    drifts: dict[str, str] = {}
    while True:
        drift, phase = git.drift()
        drifts[phase] = drifts.get(phase, "") or drift
        if over(git.scene.status()):
            return drifts


@pytest.mark.parametrize("way", ["server-side", pytest.param("client-side", marks=pytest.mark.long)])
def test_a_whole_rollout_drifts_in_no_phase(scene: Callable[[str], Scene], tmp_path: Path, way: str) -> None:
    """From the commit to the promotion a comparison with Git is empty in every phase."""
    here = scene(f"drift-{way}")
    here.publish(STABLE, NEXT)
    here.misbehave(SLOW)
    git = Git(here, way, tmp_path)
    git.commit(STABLE)
    here.wait("the first version", healthy)
    git.commit(NEXT)
    drifts = _watched(git, ended(NEXT))
    assert {phase: text for phase, text in drifts.items() if text} == {}
    assert {"Preparing", "Progressing", "Promoting", "Baking"} <= set(drifts)


@pytest.mark.parametrize("way", ["server-side", pytest.param("client-side", marks=pytest.mark.long)])
def test_a_request_and_a_way_back_drift_in_no_phase(scene: Callable[[str], Scene], tmp_path: Path, way: str) -> None:
    """The annotation that people ask by is not Git's, and the rejected version stays what Git holds."""
    here = scene(f"undrift-{way}")
    here.publish(STABLE, NEXT)
    git = Git(here, way, tmp_path)
    git.commit(STABLE)
    here.wait("the first version", healthy)
    git.commit(NEXT)
    here.wait("the first step", lambda s: s.get("rollout", {}).get("weightLive"))
    git.ask(request.token("abort", here.rollout()))
    drifts = _watched(git, ended(NEXT))
    assert {phase: text for phase, text in drifts.items() if text} == {}
    assert "RollingBack" in drifts
    settled, _ = git.drift()
    assert settled == ""
    assert here.rollout()["spec"]["model"]["version"] == NEXT
