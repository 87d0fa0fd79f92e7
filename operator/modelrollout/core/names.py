"""Names, labels and annotations of everything an object owns. The one place where they are put together."""

import re
from enum import StrEnum

from modelrollout.core.values import JSON

GROUP = "modelrollout.io"
VERSION = "v1alpha1"
MANAGER = "modelrollout"
"""Field manager of every write, and the value of the managed-by label that the operator's watches select."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_ROLLOUT = f"{GROUP}/rollout"
LABEL_TRACK = f"{GROUP}/track"
ANNOTATION_REVISION = f"{GROUP}/revision"
ANNOTATION_ABORT = f"{GROUP}/abort"
ANNOTATION_REQUEST = f"{GROUP}/request"
ANNOTATION_TRACE = f"{GROUP}/trace"
ANNOTATION_RECONCILE = "reconcile.fluxcd.io/requestedAt"
"""How Flux and its users ask any controller for a fresh look."""
ANNOTATION_TEMPLATE = f"{GROUP}/template"
ANNOTATION_ROUTE = f"{GROUP}/route-hash"
ANNOTATION_CONFIG = f"{GROUP}/config-hash"

MEMORY_KEY = "memory.json"
"""Where in its ConfigMap the judge's memory lies."""
CONFIG_DIRECTORY = "/etc/modelrollout"
MODEL_CONFIG_FILE = "models.config"
MONITORING_CONFIG_FILE = "monitoring.config"
METRICS_PATH = "/monitoring/prometheus/metrics"
GRPC_PORT = 8500
REST_PORT = 8501


class Track(StrEnum):
    """Which of the two sets of model servers."""

    STABLE = "stable"
    CANARY = "canary"


def child(rollout: str, track: Track) -> str:
    """Name of the Deployment, ConfigMap and Service of one track: 57 characters at most, as rollouts have 50."""
    return f"{rollout}-{track}"


def config_map(rollout: str, track: Track, template: int) -> str:
    """Name of the ConfigMap that pods of one template mount. Each roll has its own: the old pods keep theirs."""
    name = child(rollout, track)
    return f"{name}-{template}" if template else name


def memory(rollout: str) -> str:
    """Name of the ConfigMap that keeps what the judge remembers of an attempt."""
    return f"{rollout}-analysis"


def revision_object(rollout: str, revision: str) -> str:
    """Name of the ControllerRevision that keeps one revision."""
    return f"{rollout}-{revision}"


def is_child(rollout: str, kind: str, name: str) -> bool:
    """Whether an object of this kind and name is one that the rollout would write."""
    if kind == "HTTPRoute":
        return name == rollout
    if kind == "ControllerRevision":
        return re.fullmatch(rf"{rollout}-[0-9a-f]{{10}}", name) is not None
    if kind == "ConfigMap" and name == memory(rollout):
        return True
    template = r"(-\d+)?" if kind == "ConfigMap" else ""
    return re.fullmatch(rf"{rollout}-(stable{template}|canary)", name) is not None


def selector(rollout: str, track: Track) -> dict[str, str]:
    """Labels that select exactly the pods of one track; immutable for the life of the Deployment."""
    return {LABEL_ROLLOUT: rollout, LABEL_TRACK: str(track)}


def labels(rollout: str) -> dict[str, str]:
    """Labels on every child. `app.kubernetes.io/instance` is left out on purpose: Argo CD would prune such children."""
    return {LABEL_MANAGED_BY: MANAGER, LABEL_ROLLOUT: rollout}


def manages_request(entry: JSON) -> bool:
    """Whether an entry of `metadata.managedFields` is of whoever wrote the request annotation."""
    annotations = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
    return f"f:{ANNOTATION_REQUEST}" in annotations
