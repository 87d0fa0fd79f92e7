"""Revisions: what the model servers of one side are made from, kept for good in ControllerRevisions.

The hash is over our own fields as the user wrote them, never over a rendered pod template, so that an upgrade of the
operator starts no rollout (docs/design.md, "Revisions").
"""

import hashlib
import json
from dataclasses import dataclass

from modelrollout.core.spec import Serving
from modelrollout.core.spec_json import parse_serving
from modelrollout.core.values import JSON

_POD_SHAPING = ("image", "resources", "gpu", "storage", "mountPath", "extraArgs", "env", "pod")


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable record of model and serving fields. `data` is what its ControllerRevision stores."""

    name: str
    data: JSON

    @property
    def version(self) -> int:
        """The model version that it serves."""
        return int(self.data["model"]["version"])

    @property
    def base_path(self) -> str:
        """The directory that holds the version directories, as the server sees it."""
        return str(self.data["model"]["basePath"]).rstrip("/")

    @property
    def serving(self) -> Serving:
        """Pod-shaping fields; its `replicas` means nothing."""
        return parse_serving(self.data["serving"])

    def same_pods(self, other: "Revision") -> bool:
        """Whether both differ in the version alone, so that a reload is enough to get from one to the other."""
        return self.base_path == other.base_path and self.data["serving"] == other.data["serving"]


def revision_of(raw_spec: JSON) -> Revision:
    """The revision that `spec` asks for. Same fields, same name, whatever their order."""
    data = {
        "model": {key: raw_spec["model"][key] for key in ("basePath", "version")},
        "serving": {key: raw_spec["serving"][key] for key in _POD_SHAPING if key in raw_spec["serving"]},
    }
    return Revision(revision_name(data), data)


def revision_name(data: JSON) -> str:
    """Ten hexadecimal digits of SHA-256 over the canonical JSON of the fields."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]
