"""The Lease that operators elect their leader by: implements `election.Leases` on the API client."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from modelrollout.adapters.kube import KubeClient, NotFound
from modelrollout.core.values import JSON
from modelrollout.election import Lease
from modelrollout.errors import Conflict
from modelrollout.ports import Clock
from modelrollout.resources import LEASES

_WATCH_SECONDS = 300


class KubernetesLease:
    """One Lease. Its stamps are for people to read: nobody compares them with a clock."""

    def __init__(self, client: KubeClient, clock: Clock, namespace: str, name: str) -> None:
        """`client` must not be fenced by the election that this is for."""
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._holder = ""

    async def read(self) -> Lease | None:
        """As it is now, None when there is none."""
        found = await self._client.find(LEASES, self._namespace, self._name)
        return _lease(found) if found is not None else None

    async def write(self, lease: Lease) -> Lease:
        """Make it so, only if it is still at its version; one without a version is new. Raises Conflict."""
        body = {"metadata": {"name": self._name}, "spec": self._spec(lease)}
        if not lease.version:
            return _lease(await self._client.create(LEASES, self._namespace, body))
        body["metadata"] = {"resourceVersion": lease.version}
        try:
            return _lease(await self._client.merge_patch(LEASES, self._namespace, self._name, body))
        except NotFound as error:
            raise Conflict(str(error)) from error

    async def changes(self) -> AsyncGenerator[str, None]:
        """The holder after each change, first that of now."""
        # Closed with this one: a generator that is only forgotten leaves its connection open.
        async with aclosing(self._client.watch(LEASES, self._namespace, self._name, _WATCH_SECONDS)) as watched:
            async for found in watched:
                yield (found.get("spec") or {}).get("holderIdentity") or ""

    def _spec(self, lease: Lease) -> dict[str, Any]:
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": lease.holder,
            "leaseDurationSeconds": max(1, round(lease.duration)),
            "leaseTransitions": lease.transitions,
            "renewTime": now,
        }
        if lease.holder != self._holder:
            self._holder, spec["acquireTime"] = lease.holder, now
        return spec


def _lease(found: JSON) -> Lease:
    spec = found.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=spec.get("leaseTransitions") or 0,
        version=found["metadata"]["resourceVersion"],
    )
