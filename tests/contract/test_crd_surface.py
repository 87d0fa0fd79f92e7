"""What the definition promises beside its rules: descriptions, bounds, defaults, subresources, columns, documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from docs.generate_fields import TARGET, page
from tests.contract.conftest import DEFINITION, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.conftest import Rollouts

_BIGGEST = 200 * 1024
_SET_BY_THE_API_SERVER = {"apiVersion", "kind", "metadata"}
_SMALLEST = REPOSITORY / "examples" / "smallest.yaml"
_LONGEST_STATUS = {
    "schemaVersion": 1,
    "observedGeneration": 1,
    "phase": "Progressing",
    "message": "m" * 1024,
    "replicas": 4,
    "selector": "modelrollout.io/rollout=recsys,modelrollout.io/track=stable",
    "stable": {"revision": "0123456789", "version": 101},
    "canary": {"revision": "abcdef0123", "version": 102},
    "rollout": {
        "attempt": 2,
        "stage": "RollingBack",
        "started": "2026-01-01T10:00:00.123Z",
        "since": "2026-01-01T10:00:00.123Z",
        "steps": [{"weight": 5, "duration": "10m", "maxDuration": "30m", "approval": "Manual"}],
        "step": 1,
        "stepStarted": "2026-01-01T10:00:00.123Z",
        "weightSet": 0,
        "fits": True,
        "pausedSince": "2026-01-01T10:00:00.123Z",
        "pausedBy": "b" * 1024,
        "waitingSince": "2026-01-01T10:00:00.123Z",
        "approved": "Full",
        "undoes": {"revision": "0123456789", "version": 103},
        "requestedBy": "b" * 1024,
        "baseline": [{"name": "latency", "value": "0.0123", "requests": "1200"}],
        "outcome": "RolledBack",
        "reason": "AnalysisFailed",
        "message": "m" * 1024,
        "evidence": "e" * 2048,
    },
    "lastRequest": {"token": "t" * 256, "answer": "a" * 1024, "requestedBy": "b" * 1024},
    "lastHandledReconcileAt": "2026-01-01T10:00:00Z",
    "analysis": [{"name": "latency", "kind": "Latency", "test": "Limits", "verdict": "Fail", "detail": "d" * 2048}],
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "RolledBack",
            "message": "m" * 1024,
            "lastTransitionTime": "2026-01-01T10:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from _fields(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield f"{path}[]", schema[key]
            yield from _fields(schema[key], f"{path}[]")


@pytest.fixture(scope="module")
def schema(definition: dict[str, Any]) -> dict[str, Any]:
    """The schema of v1alpha1."""
    (version,) = definition["spec"]["versions"]
    parsed: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return parsed


@pytest.fixture
def stored(rollouts: Rollouts) -> Iterator[str]:
    """Name of the smallest example, stored."""
    made = rollouts.create(yaml.safe_load(_SMALLEST.read_text()), dry_run=False)
    yield made["metadata"]["name"]
    rollouts.delete(made["metadata"]["name"])


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    """There is something for kubectl explain to say everywhere."""
    silent = [
        path
        for path, field in _fields(schema)
        if not field.get("description", "").strip() and path.strip(".") not in _SET_BY_THE_API_SERVER
    ]
    assert not silent


def test_every_default_is_told_in_the_description(schema: dict[str, Any]) -> None:
    """A default in the schema is also named in the description, where people read it."""
    undocumented = [
        path
        for path, field in _fields(schema["properties"]["spec"])
        if "default" in field and field["default"] != {} and "Default" not in field["description"]
    ]
    assert not undocumented


def test_everything_that_can_grow_is_bounded(schema: dict[str, Any]) -> None:
    """Lists, maps and strings have an upper bound: the API server prices rules by it."""
    bounds = {"array": "maxItems", "string": "maxLength"}
    unbounded = [
        path
        for path, field in _fields(schema)
        if path.strip(".") not in _SET_BY_THE_API_SERVER
        and "enum" not in field
        and field.get("format") != "date-time"
        and (
            (field.get("type") in bounds and bounds[field["type"]] not in field)
            or ("additionalProperties" in field and "maxProperties" not in field)
        )
    ]
    assert not unbounded


def test_no_field_escapes_the_rules(schema: dict[str, Any]) -> None:
    """Rules on changes cannot see what a schema leaves open."""
    assert not [path for path, field in _fields(schema) if "x-kubernetes-preserve-unknown-fields" in field]


def test_items_of_lists_in_spec_have_no_defaults(schema: dict[str, Any]) -> None:
    """Tools that compare Git with the cluster would show a difference for good."""
    assert not [path for path, field in _fields(schema["properties"]["spec"]) if "[]" in path and "default" in field]


def test_definition_is_small_enough() -> None:
    """A copy that kubectl apply keeps must fit into an annotation, which has room for 256 KiB."""
    assert DEFINITION.stat().st_size < _BIGGEST


def test_defaults_are_filled_in(rollouts: Rollouts) -> None:
    """The smallest manifest comes back with every default of the schema."""
    spec = rollouts.create(yaml.safe_load(_SMALLEST.read_text()))["spec"]
    assert spec["serving"]["mountPath"] == "/models"
    assert spec["traffic"]["gatewayAPI"]["protocols"] == ["REST", "GRPC"]
    assert spec["strategy"]["promotion"] == {"method": "Reload", "maxParallel": 1}
    assert spec["strategy"]["canaryReadyDeadline"] == "10m"
    assert spec["strategy"]["drainDuration"] == "30s"
    assert spec["analysis"]["interval"] == "10s"
    assert spec["analysis"]["prometheus"]["timeout"] == "5s"
    assert spec["historyLimit"] == 10


def test_a_long_status_is_stored_whole(rollouts: Rollouts, stored: str) -> None:
    """No part of a status that the operator may write is refused or dropped."""
    written = rollouts.write_status(stored, _LONGEST_STATUS)
    assert written["status"] == _LONGEST_STATUS


def test_autoscalers_see_stable_pods(rollouts: Rollouts, stored: str) -> None:
    """The scale subresource maps to spec.serving.replicas and to the stable pods in status."""
    rollouts.write_status(stored, _LONGEST_STATUS)
    scale = rollouts.scale(stored)
    assert scale["spec"]["replicas"] == 4
    assert scale["status"] == {"replicas": 4, "selector": _LONGEST_STATUS["selector"]}


def test_columns_tell_the_story(definition: dict[str, Any]) -> None:
    """These are the columns of kubectl get, and the last four those of -o wide."""
    columns = definition["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow = [column["name"] for column in columns if not column.get("priority")]
    assert narrow == ["Status", "Step", "Weight", "Stable", "Canary", "Age"]
    assert [column["name"] for column in columns if column.get("priority")] == ["Verdict", "Replicas", "GPU", "Message"]


@pytest.mark.parametrize("file", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_examples_are_accepted(rollouts: Rollouts, file: Path) -> None:
    """Every ModelRollout of every example is a valid one."""
    found = [document for document in yaml.safe_load_all(file.read_text()) if document["kind"] == "ModelRollout"]
    assert found
    for manifest in found:
        rollouts.create(manifest)


def test_manifests_in_documents_are_accepted(rollouts: Rollouts) -> None:
    """What readers copy from the README and the documents works."""
    for file in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        for manifest in _manifests(file.read_text()) if file.exists() else ():
            rollouts.create(manifest)


def _manifests(text: str) -> Iterator[dict[str, Any]]:
    for block in text.split("```yaml\n")[1:]:
        for document in yaml.safe_load_all(block.split("```")[0]):
            if isinstance(document, dict) and document.get("kind") == "ModelRollout" and "spec" in document:
                yield document


def test_field_reference_is_current() -> None:
    """docs/fields.md says what the definition says; `python docs/generate_fields.py` makes it anew."""
    assert TARGET.read_text() == page()
