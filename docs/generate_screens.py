# ruff: noqa: INP001 - a script among pages, no package
"""Writes docs/images/*.svg: what `kubectl modelrollout watch` shows of rollouts in a running playground.

    python -m playground.toolchain python docs/generate_screens.py .playground

It rolls a version out that is bad, with users, on MIG slices, and takes pictures on the way.
"""

from __future__ import annotations

import io
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from modelrollout.cli.cluster import Access, Kubectl
from modelrollout.cli.sights import look
from modelrollout.cli.views import overview, table, tree
from playground import lifecycle
from playground.scene import Scene
from playground.state import State

if TYPE_CHECKING:
    from rich.console import RenderableType

IMAGES = Path(__file__).parent / "images"
_PHASES = Path(__file__).parents[1] / "gitops/argocd/resource_customizations/modelrollout.io/ModelRollout/testdata"
_OTHERS = {
    "ads": "good-baking",
    "fraud": "good-healthy",
    "ranker": "good-progressing-step-2-set",
    "search": "good-preparing",
    "spam": "stuck-degraded-stalled",
}
WIDTHS = (60, 100, 160)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Left out: whoever looks at a picture need not ask another server for its letters."""
_GPU = {"resource": "nvidia.com/mig-1g.10gb", "count": 1}
_STEPS = [{"weight": 5, "duration": "10s"}, {"weight": 25, "duration": "5m"}, {"weight": 50, "duration": "10m"}]


def main(directory: str) -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    os.environ["PATH"] = f"{lifecycle.binaries().controlplane}:{os.environ['PATH']}"
    scene = Scene(State(Path(directory).resolve()), "recsys")
    cluster = Kubectl(Access(str(scene.state.host_kubeconfig), namespace="default"))
    _start(scene)
    with scene.traffic(200):
        scene.kube.apply(_manifest(scene, 102))
        scene.wait(
            "the second step", lambda s: s.get("rollout", {}).get("step") == 2 and s["rollout"].get("stepStarted")
        )
        scene.wait("verdicts", lambda s: all(item["verdict"] == "Pass" for item in s["analysis"]))
        for width in WIDTHS:
            _picture(f"watch-{width}", tree.show(look(cluster, scene.rollout()), _now()), width)
        scene.misbehave({"versions": {"102": {"error_rate": 0.1}}})
        scene.wait("the end", lambda s: s.get("rejected") and "rollout" not in s)
    rollout = scene.rollout()
    _picture("status-taken-back", tree.show(look(cluster, rollout), _now()), 120)
    _picture("history", table.history(rollout["status"]["history"], _now()), 120)
    _picture("overview", overview.show([rollout, *_others()], _now(), 140, 20), 140)
    scene.kube.delete("ModelRollout", scene.name)


def _start(scene: Scene) -> None:
    scene.publish(101, 102)
    scene.misbehave({})
    scene.kube.apply(_manifest(scene, 101))
    scene.wait("the first version", lambda s: s.get("phase") == "Healthy")


def _manifest(scene: Scene, version: int) -> dict[str, object]:
    manifest = scene.manifest(version)
    manifest["spec"]["serving"].update(replicas=4, gpu=_GPU)
    manifest["spec"]["strategy"].update(steps=_STEPS)
    manifest["spec"]["analysis"]["metrics"] = [
        {"name": "errors", "kind": "ErrorRate", "limits": {"max": "0.05"}},
    ]
    return manifest


def _others() -> list[dict[str, Any]]:
    """Rollouts in other phases, as they were exported for the tests of health in Argo CD."""
    others = []
    for name, phase in _OTHERS.items():
        obj = yaml.safe_load((_PHASES / f"{phase}.yaml").read_text())
        obj["metadata"]["name"] = name
        others.append(obj)
    return others


def _picture(name: str, shown: RenderableType, width: int) -> None:
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(shown)
    drawn = console.export_svg(title="kubectl modelrollout", unique_id=name)
    (IMAGES / f"{name}.svg").write_text(_FONTS.sub("", drawn))


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a script that takes pictures


if __name__ == "__main__":
    main(sys.argv[1])
