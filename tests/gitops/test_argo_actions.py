"""Actions of a ModelRollout in Argo CD: the same requests as the command line's, offered where they make sense."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest
import yaml

from modelrollout.cli import request
from modelrollout.cli.errors import Failure
from playground.paths import REPOSITORY
from tests.gitops import argo, record

if TYPE_CHECKING:
    from types import ModuleType

VERBS = sorted(record.ACTED_ON)


def _token(verb: str, obj: argo.Object) -> str | None:
    """What the command line would ask for, None when it refuses."""
    try:
        target = request.undo_target(obj, "") if verb == "undo" else ""
        return request.token(verb, obj, target)
    except Failure:
        return None


def _acted(verb: str, obj: argo.Object) -> str | None:
    try:
        changed = argo.act(verb, obj)
    except argo.ScriptError:
        return None
    return str(changed["metadata"]["annotations"]["modelrollout.io/request"])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", argo.phases())
def test_an_action_asks_for_what_the_command_line_asks_for(verb: str, name: str) -> None:
    """One protocol, two ways to speak it: in every phase both write the same token or both refuse."""
    assert _acted(verb, argo.phase(name)) == _token(verb, argo.phase(name))


@pytest.mark.parametrize("verb", VERBS)
def test_an_action_changes_nothing_but_the_annotation(verb: str) -> None:
    """`spec` is Git's and `status` the operator's: anything else would drift."""
    obj = argo.phase(record.ACTED_ON[verb])
    changed = argo.act(verb, obj)
    del changed["metadata"]["annotations"]["modelrollout.io/request"]
    assert changed == {**obj, "metadata": {"annotations": {}, **obj["metadata"]}}


@pytest.mark.parametrize("name", argo.phases())
def test_what_is_offered_can_be_done(name: str) -> None:
    """An action that is not greyed out never ends in an error, in any phase."""
    obj = argo.phase(name)
    offered = {action for action, how in argo.discover(obj).items() if not how["disabled"]}
    assert {action for action in offered if _acted(action, obj) is None} == set()


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("good-new", set()),
        ("good-initializing", set()),
        ("good-progressing-step-1-live", {"abort", "pause", "promote", "promote-full", "skip", "undo"}),
        ("good-baking", {"abort", "pause", "undo"}),
        ("bad-rollingback", set()),
        ("bad-rolledback", {"retry"}),
        ("good-healthy", {"undo"}),
    ],
)
def test_what_is_offered_when(name: str, offered: set[str]) -> None:
    """What cannot help is greyed out."""
    found = argo.discover(argo.phase(name))
    assert {action for action, how in found.items() if not how["disabled"]} == offered


def test_a_pause_is_ended_by_resume() -> None:
    """The button that pauses gives way to the one that resumes; what spec holds is no button's."""
    obj = argo.phase("good-progressing-step-1-live")
    obj["status"]["rollout"]["pausedSince"] = obj["status"]["rollout"]["since"]
    found = argo.discover(obj)
    assert found["pause"]["disabled"]
    assert not any(found[action]["disabled"] for action in ("promote", "resume", "abort"))
    obj["spec"]["paused"] = True
    found = argo.discover(obj)
    assert all(found[action]["disabled"] for action in ("promote", "promote-full", "skip"))


def test_undo_takes_a_version() -> None:
    """The parameter of the dialog is a version that was promoted before; another is refused."""
    obj = argo.phase("good-healthy")
    asked = argo.act("undo", obj, version="101")["metadata"]["annotations"]["modelrollout.io/request"]
    assert asked == request.token("undo", obj, request.undo_target(obj, "101"))
    with pytest.raises(argo.ScriptError, match="no such version was promoted before"):
        argo.act("undo", obj, version="7")


def test_argo_cds_own_test_file_agrees() -> None:
    """The files that Argo CD's harness reads say what the scripts do."""
    assert yaml.safe_load((argo.ACTIONS / "action_test.yaml").read_text()) == record.action_tests()
    for verb, name in record.ACTED_ON.items():
        expected = yaml.safe_load((argo.ACTIONS / "testdata" / f"{verb}.yaml").read_text())
        assert expected == argo.act(verb, argo.phase(name))


def test_the_fragment_for_argocd_cm_has_the_same_scripts() -> None:
    """The fragment is made from the scripts; after a change it has to be made anew."""
    generator = _load()
    assert generator.TARGET.read_text() == generator.fragment()
    data = yaml.safe_load(generator.TARGET.read_text())["data"]
    actions = yaml.safe_load(data["resource.customizations.actions.modelrollout.io_ModelRollout"])
    assert sorted(item["name"] for item in actions["definitions"]) == VERBS


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fragment", REPOSITORY / "gitops/argocd/generate_fragment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
