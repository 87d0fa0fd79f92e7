"""Every rule of the definition on a real API server: one file that it lets pass, and one or more that it refuses.

A file with two documents is a change: the first is stored, the second is an update of it. A refused file's first line
says which words the message must have. Nothing but the API server evaluates these rules, so no validator replaces it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client import ApiException

from modelrollout.core.spec_json import parse_spec

if TYPE_CHECKING:
    from tests.contract.conftest import Rollouts

_CASES = Path(__file__).parent / "crd"


def _files(kind: str) -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in sorted((_CASES / kind).glob("*.yaml"))]


def _apply(rollouts: Rollouts, file: Path) -> Any:
    """The last document as the server would store it. Raises ApiException when that is refused."""
    *stored, last = yaml.safe_load_all(file.read_text())
    if not stored:
        return rollouts.create(last)
    before = rollouts.create(stored[0], dry_run=False)
    try:
        last["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        return rollouts.update(last)
    finally:
        rollouts.delete(before["metadata"]["name"])


@pytest.mark.parametrize("file", _files("accept"))
def test_manifest_within_the_rules_is_accepted(rollouts: Rollouts, file: Path) -> None:
    """What a rule is not meant to catch passes it, and the operator can read it."""
    accepted = _apply(rollouts, file)
    assert parse_spec(accepted["spec"], accepted["metadata"]["name"]).version == accepted["spec"]["model"]["version"]


@pytest.mark.parametrize("file", _files("reject"))
def test_manifest_against_a_rule_is_refused_with_the_fix(rollouts: Rollouts, file: Path) -> None:
    """The refusal's message has the words that tell its reader what to do."""
    words = file.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(ApiException) as refusal:
        _apply(rollouts, file)
    assert refusal.value.status == 422
    message = json.loads(refusal.value.body or "")["message"]
    assert words in message
    # A rule that cannot be evaluated would hide the message that helps behind one that does not.
    assert " error " not in message


def test_every_rule_has_a_refused_manifest(definition: dict[str, Any]) -> None:
    """A rule without a file that it refuses has never been seen to work."""
    expected = " ".join(file.read_text().splitlines()[0] for file in (_CASES / "reject").glob("*.yaml"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    missing = {
        rule["message"]
        for rule in _rules(schema)
        if not any(part in rule["message"] or rule["message"] in part for part in _words(expected))
    }
    assert not missing


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split("# ") if part.strip()]


def _rules(schema: dict[str, Any]) -> list[dict[str, Any]]:
    own = list(schema.get("x-kubernetes-validations", ()))
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return own + [rule for child in children if isinstance(child, dict) for rule in _rules(child)]
