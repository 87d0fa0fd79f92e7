# ruff: noqa: INP001 - a script among manifests, no package
"""Writes argocd-cm.yaml, the same scripts for an Argo CD that does not bundle them yet. A test compares.

python gitops/argocd/generate_fragment.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent
_SCRIPTS = _HERE / "resource_customizations" / "modelrollout.io" / "ModelRollout"
TARGET = _HERE / "argocd-cm.yaml"
_INTRODUCTION = """\
# Health and actions of ModelRollouts, to be merged into your ConfigMap argocd-cm:
#
#     kubectl patch configmap argocd-cm --namespace argocd --patch-file argocd-cm.yaml
#
# Made from the scripts under resource_customizations by generate_fragment.py.
"""


class _Dumper(yaml.SafeDumper):
    """Scripts as literal blocks, so that they can be read where they end up."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def fragment() -> str:
    """The whole file."""
    data = {
        "resource.customizations.health.modelrollout.io_ModelRollout": (_SCRIPTS / "health.lua").read_text(),
        "resource.customizations.actions.modelrollout.io_ModelRollout": _dump(_actions()),
    }
    return _INTRODUCTION + _dump({"data": data})


def _actions() -> dict[str, Any]:
    folder = _SCRIPTS / "actions"
    definitions = [
        {"name": script.parent.name, "action.lua": script.read_text()} for script in sorted(folder.glob("*/action.lua"))
    ]
    return {"discovery.lua": (folder / "discovery.lua").read_text(), "definitions": definitions}


def _dump(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)


if __name__ == "__main__":
    TARGET.write_text(fragment())
