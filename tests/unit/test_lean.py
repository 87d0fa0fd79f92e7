"""What is kept of objects, and of listings of them."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.lean import lean_answer, without_items


def test_items_of_a_listing_become_lean() -> None:
    """And say their kind, which the API server leaves out; everything about the listing itself stays."""
    pod = {"metadata": {"name": "a", "managedFields": [{"manager": "kubelet"}]}, "spec": {}, "status": {"phase": "x"}}
    answer = {"kind": "PodList", "metadata": {"continue": "more"}, "items": [pod]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "x"}}
    assert lean_answer(answer) == {"kind": "PodList", "metadata": {"continue": "more"}, "items": [made]}


def test_of_a_listing_only_as_of_when_it_is() -> None:
    """Nothing is asked for after the first page either."""
    answer = {"kind": "PodList", "metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{}]}
    assert without_items(answer) == {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": []}
    namespaces = {"kind": "NamespaceList", "metadata": {"continue": "more"}, "items": [{}]}
    assert without_items(namespaces) == {"kind": "NamespaceList", "metadata": {}, "items": []}


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "NodeList", "items": [{"metadata": {"name": "a", "managedFields": []}}]},
        {"kind": "Status", "code": 404},
        {"items": []},
        {"kind": 1},
        [],
        None,
    ],
    ids=str,
)
def test_whatever_else_is_answered_stays_as_it_is(answer: Any) -> None:
    """Listings of other kinds, errors, and what no API server says."""
    assert lean_answer(answer) is answer
    assert without_items(answer) is answer
