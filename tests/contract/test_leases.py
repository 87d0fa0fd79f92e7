"""The Lease of the election on a real API server."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from modelrollout.adapters.clock import SystemClock
from modelrollout.adapters.leases import KubernetesLease
from modelrollout.election import Candidate, Elector, Lease, Terms
from modelrollout.errors import ClusterUnavailable, Conflict
from modelrollout.resources import CONFIG_MAPS, LEASES
from tests.contract.test_cluster import client, kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelrollout.adapters.kube import KubeClient

__all__ = ["client", "kubeconfig"]

NAMESPACE = "default"


@pytest.fixture
def lease(client: KubeClient) -> Callable[[], KubernetesLease]:
    """Makes ways to one lease, which does not exist yet."""
    name = f"lease-{uuid4().hex[:8]}"
    return lambda: KubernetesLease(client, SystemClock(), NAMESPACE, name)


async def test_only_one_write_per_version_gets_through(lease: Callable[[], KubernetesLease]) -> None:
    """Of two that create, and of two that take over, the second is a conflict."""
    one, two = lease(), lease()
    assert await one.read() is None
    made = await one.write(Lease("one", 15))
    with pytest.raises(Conflict):
        await two.write(Lease("two", 15))
    assert await two.read() == made
    renewed = await one.write(made)
    with pytest.raises(Conflict):
        await two.write(replace(made, holder="two"))
    assert await two.read() == renewed


async def test_people_can_read_who_leads_since_when(client: KubeClient, lease: Callable[[], KubernetesLease]) -> None:
    """`kubectl get lease` shows holder and times as other controllers' leases do."""
    way = lease()
    made = await way.write(Lease("one", 15))
    await way.write(replace(made, holder="", duration=1))
    spec = (await client.get(LEASES, NAMESPACE, way._name))["spec"]
    assert "holderIdentity" not in spec or spec["holderIdentity"] == ""
    assert spec["leaseDurationSeconds"] == 1
    assert spec["acquireTime"] <= spec["renewTime"]


async def test_a_change_of_hands_is_told_at_once(lease: Callable[[], KubernetesLease]) -> None:
    """The watch gives the holder of now, then each one after it."""
    way = lease()
    made = await way.write(Lease("one", 15))
    async with aclosing(way.changes()) as changes:
        assert await anext(changes) == "one"
        made = await way.write(replace(made, holder=""))
        assert await anext(changes) == ""
        await way.write(replace(made, holder="two"))
        assert await anext(changes) == "two"


async def test_a_client_writes_nothing_without_a_permit(
    client: KubeClient, lease: Callable[[], KubernetesLease]
) -> None:
    """Behind the fence of an election reads go on, and writes only for the leader."""
    elector = Elector(lease(), Candidate("me", Terms(6, 4, 1)), time.monotonic)
    fenced, name = client.fenced(elector), f"fenced-{uuid4().hex[:8]}"
    body = {"metadata": {"name": name}}
    with pytest.raises(ClusterUnavailable, match="lease"):
        await fenced.create(CONFIG_MAPS, NAMESPACE, body)
    assert await fenced.find(CONFIG_MAPS, NAMESPACE, name) is None
    campaign = asyncio.create_task(elector.run())
    await elector.won.wait()
    await fenced.create(CONFIG_MAPS, NAMESPACE, body)
    # The watch is open by then: a connection that is given up while it is made is never closed (aiohttp).
    await asyncio.sleep(0.5)
    campaign.cancel()
    await asyncio.gather(campaign, return_exceptions=True)
    await elector.resign()
    with pytest.raises(ClusterUnavailable):
        await fenced.create(CONFIG_MAPS, NAMESPACE, {"metadata": {"name": f"{name}-2"}})
