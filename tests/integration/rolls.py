"""What tests of rolls share: changed serving fields, and what pods show of them. Used by test_roll*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.situations import quick

if TYPE_CHECKING:
    from playground.kube import Object
    from playground.scene import Scene

MARK = [{"name": "MARK", "value": "new"}]


def changed(scene: Scene, version: int, replicas: int = 2, **serving_fields: Any) -> Object:
    """A manifest that differs in serving fields."""
    manifest = quick(scene, version, replicas)
    manifest["spec"]["serving"].update(serving_fields)
    return manifest


def container(pod: Object) -> Object:
    """The pod's model server."""
    found: Object = pod["spec"]["containers"][0]
    return found


def marked(scene: Scene) -> list[bool]:
    """Which stable pods have the environment of `MARK`."""
    return [MARK[0] in container(pod).get("env", ()) for pod in scene.pods("stable")]


def own_config_maps(scene: Scene) -> list[str]:
    """Names of the rollout's ConfigMaps."""
    found = scene.kube.list("ConfigMap", labelSelector=f"modelrollout.io/rollout={scene.name}")
    return sorted(item["metadata"]["name"] for item in found)
