"""The definition of ModelRollout as this program knows it: packaged with it, or in the checkout it runs from."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

import modelrollout
from modelrollout.cli.errors import Failure

_NAME = "modelrollouts.yaml"


@cache
def schema() -> dict[str, Any]:
    """OpenAPI schema of the one version that there is. Raises Failure where the file is missing."""
    package = Path(modelrollout.__file__).parent
    for file in (package / "crds" / _NAME, package.parents[1] / "crds" / _NAME):
        if file.is_file():
            definition = load(file.read_text())[0]
            found = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            assert isinstance(found, dict)
            return found
    raise Failure(f"{_NAME} is missing from this installation", "Install it again, or use `lint --server`.")


def load(text: str) -> list[Any]:
    """Every document of a YAML text, by the C parser where there is one. Raises yaml.YAMLError."""
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
