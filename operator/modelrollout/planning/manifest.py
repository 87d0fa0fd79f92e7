"""The ModelRollout in a manifest, as `plan` and `simulate` read it. Pure."""

from dataclasses import dataclass
from typing import Any

from modelrollout.core.spec import Spec
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.values import JSON


@dataclass(frozen=True, slots=True)
class Manifest:
    """Its name and namespace, its `spec` with the schema's defaults, and the same as values."""

    name: str
    namespace: str
    raw: JSON
    spec: Spec


def manifest_of(complete: Any) -> Manifest:
    """A manifest that has been checked and has its defaults. Raises InvalidSpec."""
    metadata = complete["metadata"]
    name = metadata["name"]
    return Manifest(name, metadata.get("namespace", "default"), complete["spec"], parse_spec(complete["spec"], name))
