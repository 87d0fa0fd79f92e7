"""The kinds of objects that the operator reads and writes, and where the API server has them.

Used by the cache, the event source and the Kubernetes adapters, so that no path is put together anywhere else.
"""

from dataclasses import dataclass

from modelrollout.core.names import GROUP, LABEL_MANAGED_BY, MANAGER, VERSION
from modelrollout.core.values import JSON

_OURS = f"{LABEL_MANAGED_BY}={MANAGER}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one API version. `selector` is the label selector of the objects that concern us."""

    kind: str
    group: str
    version: str
    plural: str
    selector: str = ""

    @property
    def api_version(self) -> str:
        """As manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Path below the API server's address; without a namespace that of the whole cluster."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        return "/" + "/".join([*parts, self.plural, *filter(None, (name, subresource))])


ROLLOUTS = Resource("ModelRollout", GROUP, VERSION, "modelrollouts")
DEPLOYMENTS = Resource("Deployment", "apps", "v1", "deployments", _OURS)
REVISIONS = Resource("ControllerRevision", "apps", "v1", "controllerrevisions", _OURS)
CONFIG_MAPS = Resource("ConfigMap", "", "v1", "configmaps", _OURS)
SERVICES = Resource("Service", "", "v1", "services", _OURS)
PODS = Resource("Pod", "", "v1", "pods", _OURS)
HTTP_ROUTES = Resource("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes", _OURS)

WATCHED = (ROLLOUTS, DEPLOYMENTS, REVISIONS, CONFIG_MAPS, SERVICES, PODS, HTTP_ROUTES)
"""What the operator keeps in memory."""

NAMESPACES = Resource("Namespace", "", "v1", "namespaces")
NODES = Resource("Node", "", "v1", "nodes")
EVENTS = Resource("Event", "", "v1", "events")
LEASES = Resource("Lease", "coordination.k8s.io", "v1", "leases")

PLURALS = tuple(resource.plural for resource in (*WATCHED, NODES, EVENTS, LEASES))
"""All that there is a request for, as paths name them."""

_BY_KIND = {resource.kind: resource for resource in (*WATCHED, NODES, EVENTS)}

CHUNK = 100
"""Objects of one page of a listing: pages are read whole before they are made lean."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of one kind as of `version`: what is missing had gone by then."""

    items: tuple[JSON, ...]
    version: int


def resource_of(kind: str) -> Resource:
    """The resource of a kind. Raises KeyError for one that the operator has nothing to do with."""
    return _BY_KIND[kind]


def plural_of(path: str) -> str | None:
    """The resource that a path below the API server's address is about, of `PLURALS`."""
    first, *parts = path.strip("/").split("/")
    parts = parts[1:] if first == "api" else parts[2:]
    parts = parts[2:] if parts[:1] == ["namespaces"] else parts
    return next((plural for plural in parts[:1] if plural in PLURALS), None)


def resource_version(obj: JSON) -> int:
    """An object's resourceVersion; within one kind greater is newer. 0 when it has none."""
    return int(obj.get("metadata", {}).get("resourceVersion") or 0)
