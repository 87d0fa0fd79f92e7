"""Two operators share a cluster by labels of namespaces: each acts in its own, and one that moves changes hands."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.contract.stand import NEVER, Stand, operating

if TYPE_CHECKING:
    from playground.interference import Lane

SHARDS = ("gold", "silver")
LASTING = ("--lease-duration=6", "--lease-renew-deadline=4", "--lease-retry-period=1")


def writes(lane: Lane, namespace: str) -> list[float]:
    """When the operator behind this lane wrote in a namespace."""
    return [entry.time for entry in lane.writes() if f"/namespaces/{namespace}/" in entry.target]


@pytest.mark.long
def test_a_namespace_that_changes_its_label_changes_hands(stand: Stand) -> None:
    """Whoever had it leaves it first; neither touches what is the other's, or nobody's."""
    for namespace, tier in (("vault", "gold"), ("drawer", "silver"), ("street", "none")):
        stand.make_namespace(namespace, tier=tier)
        stand.make_rollout("recsys", namespace)
    with ExitStack() as stack:
        lanes = [stand.lane(f"shard-{tier}") for tier in SHARDS]
        for lane, tier in zip(lanes, SHARDS, strict=True):
            flags = (f"--namespace-selector=tier={tier}", f"--shard={tier}", *LASTING)
            stack.enter_context(operating(lane, *flags))
        gold, silver = lanes
        for namespace in ("vault", "drawer"):
            stand.wish("recsys", namespace, "at home")
            stand.wait_until_granted("recsys", namespace, "at home", 2 * NEVER)
        assert not writes(silver, "vault")
        assert not writes(gold, "drawer")
        stand.make_namespace("vault", tier="silver")
        time.sleep(1)
        stand.wish("recsys", "vault", "moved")
        stand.wait_until_granted("recsys", "vault", "moved", 2 * NEVER)
        assert max(writes(gold, "vault")) < min(writes(silver, "vault"))
        assert not writes(gold, "street") + writes(silver, "street")
        leases = "apis/coordination.k8s.io/v1/namespaces/default/leases"
        found = stand.kube.session.get(f"{stand.kube.url}/{leases}", timeout=10).json()["items"]
        assert {f"modelrollout-{tier}" for tier in SHARDS} <= {item["metadata"]["name"] for item in found}
