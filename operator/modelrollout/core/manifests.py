"""Builders of the objects that a ModelRollout owns, except the route. Pure: the same input gives the same manifest.

Manifests say only what we mean to own; `values.covers` tells whether an object already says it.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from modelrollout.core import names
from modelrollout.core.model_config import ModelTarget, monitoring_config, render
from modelrollout.core.names import GRPC_PORT, REST_PORT, Track
from modelrollout.core.revisions import Revision
from modelrollout.core.values import JSON, parse_duration

LINGER = timedelta(seconds=5)
"""So long a pod that is to end goes on answering: gateways send it requests until they have heard of it."""

_SERVER_FLAGS = (
    f"--port={GRPC_PORT}",
    f"--rest_api_port={REST_PORT}",
    f"--model_config_file={names.CONFIG_DIRECTORY}/{names.MODEL_CONFIG_FILE}",
    # The file is what a restarted server starts with; a poll of it would overwrite what reload calls set.
    "--model_config_file_poll_wait_seconds=0",
    # With 0 a reload that adds a version would hang for good: loading starts at a disk poll.
    "--file_system_poll_wait_seconds=1",
    # With 0 threads loads run inside the manager's loop and block every other change.
    "--num_load_threads=2",
    "--num_unload_threads=2",
    # A bad version is to show as failed at once, not as LOADING for five minutes.
    "--max_num_load_retries=0",
    # Labels in the start file name versions that are not loaded yet.
    "--allow_version_labels_for_unavailable_models",
    f"--monitoring_config_file={names.CONFIG_DIRECTORY}/{names.MONITORING_CONFIG_FILE}",
    "--enable_profiler=false",
)
_PASSED_THROUGH = (
    "nodeSelector",
    "affinity",
    "serviceAccountName",
    "imagePullSecrets",
    "securityContext",
    "priorityClassName",
    "runtimeClassName",
)


@dataclass(frozen=True, slots=True)
class Owner:
    """The ModelRollout that owns what is built."""

    name: str
    namespace: str
    uid: str

    def metadata(self, name: str, **more: Any) -> dict[str, Any]:
        """Metadata of a child: labels, and a controller reference so that it goes when the rollout goes."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": names.labels(self.name),
            "ownerReferences": [
                {
                    "apiVersion": f"{names.GROUP}/{names.VERSION}",
                    "kind": "ModelRollout",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            **more,
        }


def controller_revision(owner: Owner, revision: Revision) -> dict[str, Any]:
    """The immutable record of one revision."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": owner.metadata(names.revision_object(owner.name, revision.name)),
        "data": revision.data,
        "revision": revision.version,
    }


def config_map(owner: Owner, track: Track, template: int, target: ModelTarget) -> dict[str, Any]:
    """What model servers of one template start with."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(names.config_map(owner.name, track, template)),
        "data": {
            names.MODEL_CONFIG_FILE: render(target),
            names.MONITORING_CONFIG_FILE: monitoring_config(names.METRICS_PATH),
        },
    }


def memory(owner: Owner, text: str) -> dict[str, Any]:
    """What the judge remembers, so that a restart of the operator loses no evidence."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(names.memory(owner.name)),
        "data": {names.MEMORY_KEY: text},
    }


def config_hash(target: ModelTarget) -> str:
    """A short name for a configuration, for the annotation that hastens a pod's refresh."""
    return hashlib.sha256(render(target).encode()).hexdigest()[:10]


def service(owner: Owner, track: Track) -> dict[str, Any]:
    """The Service of one track. gRPC carries appProtocol h2c, or gateways would speak HTTP/1.1 to it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(names.child(owner.name, track)),
        "spec": {
            "selector": names.selector(owner.name, track),
            "ports": [
                {"name": "grpc", "port": GRPC_PORT, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
                {"name": "rest", "port": REST_PORT, "protocol": "TCP"},
            ],
        },
    }


def deployment(
    owner: Owner, track: Track, revision: Revision, template: int, replicas: int, model: str, paused: bool | None = None
) -> dict[str, Any]:
    """The model servers of one track. `paused` keeps pods as they are; None leaves it to the default, which is not.

    The template does not name the version: a promotion by reload changes what servers have loaded, and must not
    restart them. A roll gives it another number, and with it another ConfigMap.
    """
    pod = revision.serving.pod
    template_labels = {**pod.get("labels", {}), **names.labels(owner.name), **names.selector(owner.name, track)}
    annotations = {names.ANNOTATION_REVISION: revision.name}
    marks = {**pod.get("annotations", {}), **({names.ANNOTATION_TEMPLATE: str(template)} if template else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(names.child(owner.name, track), annotations=annotations),
        "spec": {
            **({} if paused is None else {"paused": paused}),
            "replicas": replicas,
            "selector": {"matchLabels": names.selector(owner.name, track)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                # The API server drops what is empty, and a new process would find it missing.
                "metadata": {"labels": template_labels, **({"annotations": marks} if marks else {})},
                "spec": _pod_spec(names.config_map(owner.name, track, template), revision, model),
            },
        },
    }


def _pod_spec(config: str, revision: Revision, model: str) -> dict[str, Any]:
    serving, pod = revision.serving, revision.serving.pod
    grace = parse_duration(pod.get("terminationGracePeriod", "30s")) + LINGER
    volumes: list[JSON] = [{"name": "config", "configMap": {"name": config}}]
    if serving.storage:
        volumes.append({"name": "models", **serving.storage})
    spec: dict[str, Any] = {
        "containers": [_container(revision, model)],
        "volumes": volumes,
        **{key: pod[key] for key in _PASSED_THROUGH if key in pod},
    }
    spec["terminationGracePeriodSeconds"] = int(grace.total_seconds())
    tolerations = [*pod.get("tolerations", ())]
    if serving.gpu:
        # GPU nodes are tainted with the resource's name by convention.
        tolerations.append({"key": serving.gpu.resource, "operator": "Exists"})
    if tolerations:
        spec["tolerations"] = tolerations
    return spec


def _container(revision: Revision, model: str) -> dict[str, Any]:
    serving = revision.serving
    mounts = [{"name": "config", "mountPath": names.CONFIG_DIRECTORY, "readOnly": True}]
    if serving.storage:
        mounts.append({"name": "models", "mountPath": serving.mount_path, "readOnly": True})
    container: dict[str, Any] = {
        "name": "model-server",
        "image": serving.image,
        # The image's own entry point keeps a shell as PID 1 and adds a default model.
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": [*_SERVER_FLAGS, *serving.extra_args],
        "ports": [{"name": "grpc", "containerPort": GRPC_PORT}, {"name": "rest", "containerPort": REST_PORT}],
        "volumeMounts": mounts,
        "lifecycle": {"preStop": {"sleep": {"seconds": int(LINGER.total_seconds())}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(serving.pod.get("probes", {}), model),
    }
    if serving.env:
        container["env"] = list(serving.env)
    if resources := _resources(revision):
        container["resources"] = resources
    return container


def _resources(revision: Revision) -> dict[str, Any]:
    serving = revision.serving
    resources = {kind: dict(amounts) for kind, amounts in serving.resources.items()}
    if serving.gpu:
        for kind in ("limits", "requests"):
            resources.setdefault(kind, {})[serving.gpu.resource] = str(serving.gpu.count)
    return resources


def _probes(timings: JSON, model: str) -> dict[str, Any]:
    """Ports open once the first load is over, hence the patient start-up probe; metadata answers only when servable."""
    ready = {"path": f"/v1/models/{model}/metadata", "port": REST_PORT}
    return {
        "startupProbe": {
            "tcpSocket": {"port": REST_PORT},
            "periodSeconds": 1,
            "failureThreshold": 1800,
            **timings.get("startup", {}),
        },
        "readinessProbe": {
            "httpGet": ready,
            "periodSeconds": 2,
            "failureThreshold": 2,
            **timings.get("readiness", {}),
        },
        "livenessProbe": {
            "tcpSocket": {"port": GRPC_PORT},
            "periodSeconds": 10,
            "failureThreshold": 3,
            **timings.get("liveness", {}),
        },
    }
