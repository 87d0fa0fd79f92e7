"""Every rule of the definition on a real API server: a file that it lets pass, and rows of manifests that it refuses.

A file with two documents is a change: the first is stored, the second is an update of it. Nothing but the API server
evaluates these rules, so no validator replaces it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client import ApiException

from modelrollout.core.spec_json import parse_spec
from tests.contract.bad import Bad, bad_manifests

if TYPE_CHECKING:
    from tests.contract.conftest import Rollouts

_CASES = Path(__file__).parent / "crd"


@pytest.mark.parametrize("file", sorted((_CASES / "accept").glob("*.yaml")), ids=lambda file: file.stem)
def test_manifest_within_the_rules_is_accepted(rollouts: Rollouts, file: Path) -> None:
    """What a rule is not meant to catch passes it, and the operator can read it."""
    *stored, last = yaml.safe_load_all(file.read_text())
    accepted = _apply(rollouts, last, *stored)
    assert parse_spec(accepted["spec"], accepted["metadata"]["name"]).version == accepted["spec"]["model"]["version"]


@pytest.mark.parametrize("bad", bad_manifests(), ids=lambda bad: bad.name)
def test_bad_manifest_is_refused_with_the_fix(rollouts: Rollouts, bad: Bad) -> None:
    """The refusal's message has the words that tell its reader what to do."""
    with pytest.raises(ApiException) as refusal:
        _apply(rollouts, bad.manifest, *([bad.before] if bad.before else ()))
    assert refusal.value.status == 422
    message = json.loads(refusal.value.body or "")["message"]
    assert bad.words in message
    # A rule that cannot be evaluated would hide the message that helps behind one that does not. (The scale
    # subresource stumbles over a number of replicas that is no integer, which cannot be helped.)
    assert " error " not in message or "accessor error" in message


def _apply(rollouts: Rollouts, manifest: dict[str, Any], *before: dict[str, Any]) -> Any:
    """The manifest as the server would store it, in the place of the one before. Raises ApiException when refused."""
    if not before:
        return rollouts.create(manifest)
    stored = rollouts.create(before[0], dry_run=False)
    metadata = {**manifest["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}
    try:
        return rollouts.update({**manifest, "metadata": metadata})
    finally:
        rollouts.delete(stored["metadata"]["name"])


def test_every_rule_has_a_refused_manifest(definition: dict[str, Any]) -> None:
    """A rule without a manifest that it refuses has never been seen to work."""
    expected = [bad.words for bad in bad_manifests()]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    missing = {rule["message"] for rule in _rules(schema) if not any(words in rule["message"] for words in expected)}
    assert not missing


def _rules(schema: dict[str, Any]) -> list[dict[str, Any]]:
    own = list(schema.get("x-kubernetes-validations", ()))
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return own + [rule for child in children if isinstance(child, dict) for rule in _rules(child)]
