"""The definition of ModelRollout as this program knows it: it is packaged with it."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def schema() -> dict[str, Any]:
    """OpenAPI schema of the one version that there is."""
    (definition,) = load((files("modelrollout") / "crds" / "modelrollouts.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    found = version["schema"]["openAPIV3Schema"]
    assert isinstance(found, dict)
    return found


def load(text: str) -> list[Any]:
    """Every document of a YAML text, by the C parser where there is one. Raises yaml.YAMLError."""
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
