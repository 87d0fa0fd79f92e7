# ruff: noqa: INP001 - a script among pages, no package
"""Writes docs/fields.md, the fields of a ModelRollout as a page, from the custom resource definition.

Run `python docs/generate_fields.py` after a change of crds/modelrollouts.yaml; a contract test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPOSITORY = Path(__file__).parents[1]
_DEFINITION = _REPOSITORY / "crds" / "modelrollouts.yaml"
TARGET = _REPOSITORY / "docs" / "fields.md"
_INTRODUCTION = """# Fields of a ModelRollout

Made from `crds/modelrollouts.yaml` by `docs/generate_fields.py`. `kubectl explain mro.spec.strategy.steps` says the
same of a cluster's own version, field by field.
Durations are written like `90s`, `10m` or `1h30m`; decimal numbers are strings, such as `"1.5"`.
"""
_SAME_AS_KUBERNETES = ("affinity", "securityContext")
"""Members whose inner fields are those of Kubernetes; the page leaves them to its documentation."""


def page() -> str:
    """The whole page."""
    (version,) = yaml.safe_load(_DEFINITION.read_text())["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    return "\n".join([_INTRODUCTION, *_chapter("spec", properties["spec"]), *_chapter("status", properties["status"])])


def _chapter(name: str, schema: dict[str, Any]) -> list[str]:
    rows = "".join(_rows(name, schema))
    rules = "".join(f"- `{path}`: {message}\n" for path, message in _rules(name, schema))
    chapter = [f"## {name}\n\n{schema['description']}\n", f"| field | type | meaning |\n|---|---|---|\n{rows}"]
    return (
        [*chapter, f"### Rules of {name}\n\nWhat the API server says when one is broken.\n\n{rules}"]
        if rules
        else chapter
    )


def _children(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(path, schema, required) of each member, through lists and maps."""
    inner = schema.get("items") or {}
    suffix, holder = ("[]", inner) if inner.get("type") == "object" else ("", schema)
    for name, child in holder.get("properties", {}).items():
        yield f"{path}{suffix}.{name}", child, name in holder.get("required", ())


def _rows(path: str, schema: dict[str, Any]) -> Iterator[str]:
    for below, child, required in _children(path, schema):
        meaning = child["description"].replace("|", "\\|")
        yield f"| `{below}`{' (required)' if required else ''} | {_type(child)} | {meaning} |\n"
        if below.rsplit(".", 1)[-1] not in _SAME_AS_KUBERNETES:
            yield from _rows(below, child)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" if value else "empty" for value in schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return "integer or string"
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map to {_type(schema['additionalProperties'])}"
    kind: str = schema["type"]
    bounds = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    return f"{kind}, {' to '.join(bounds)}" if len(bounds) == 2 else kind


def _rules(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path + rule.get("fieldPath", ""), rule["message"]
    items = schema.get("items")
    if items:
        for rule in items.get("x-kubernetes-validations", ()):
            yield f"{path}[]{rule.get('fieldPath', '')}", rule["message"]
    for below, child, _ in _children(path, schema):
        yield from _rules(below, child)


if __name__ == "__main__":
    TARGET.write_text(page())
