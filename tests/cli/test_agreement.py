"""Command line, Argo CD's buttons and the operator speak one language: who looks at the same object is never stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.cli import request
from modelrollout.cli.errors import Failure
from modelrollout.core.fitting import granted, handled, was_done
from modelrollout.core.names import ANNOTATION_REQUEST
from modelrollout.core.observe import Memory, observe
from modelrollout.core.requests import Verb
from modelrollout.core.revisions import Revision
from tests.gitops import argo

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Snapshot

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def operators_view(obj: dict[str, Any], token: str) -> Snapshot:
    """What the operator sees of an object with this request; every revision of its history is on record."""
    metadata = {**obj["metadata"], "annotations": {ANNOTATION_REQUEST: token}}
    seen = observe({**obj, "metadata": metadata}, (), Memory(), NOW)
    known = {entry.target.revision for entry in seen.status.history}
    return replace(seen, revisions={name: Revision(name, {}) for name in known})


def answered(obj: dict[str, Any], token: str) -> str:
    """What the operator says to a request at once; a start that waits for something is a yes."""
    seen = operators_view(obj, token)
    last = handled(seen, seen.status)
    return last.answer if last is not None and last.token == token else f"{token.partition(':')[0]}: done"


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("name", argo.phases())
def test_what_the_command_line_asks_for_is_understood(verb: Verb, name: str) -> None:
    """Whatever a token of the command line is answered, it names what the operator has, too."""
    obj = argo.phase(name)
    try:
        token = request.token(verb, obj, request.undo_target(obj, "") if verb is Verb.UNDO else "")
    except Failure:
        return
    answer = answered(obj, token)
    assert "stale" not in answer
    assert "not understood" not in answer


@pytest.mark.parametrize("name", argo.phases())
def test_what_argo_cd_offers_is_done(name: str) -> None:
    """A button that is not greyed out does something."""
    obj = argo.phase(name)
    for action, how in argo.discover(obj).items():
        if not how["disabled"]:
            token = argo.act(action, obj)["metadata"]["annotations"][ANNOTATION_REQUEST]
            assert was_done(answered(obj, token)), (action, answered(obj, token))
            assert granted(operators_view(obj, token)) is not None
