"""ConfigMaps, Secrets, claims and volumes that pods refer to: asked for when it matters, followed when it
does not hurry.

One for the whole agent, run by :mod:`playground.node_agent.agent`; used by volumes and environments.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from playground.node_agent.api import ApiError, Listed

if TYPE_CHECKING:
    from playground.node_agent.api import Api
    from playground.node_agent.model import JsonObject

_FOLLOWED = ("configmaps", "secrets")
_Key = tuple[str, str, str]


def path(kind: str, namespace: str, name: str) -> str:
    """The address of one core object; an empty `namespace` means a kind without namespaces."""
    return f"/api/v1/namespaces/{namespace}/{kind}/{name}" if namespace else f"/api/v1/{kind}/{name}"


class Objects:
    """Reads objects by kind (``configmaps``, ``secrets``, ``persistentvolumeclaims``...), namespace and
    name.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[_Key, JsonObject] = {}

    async def run(self) -> None:
        """Follows ConfigMaps and Secrets, for ever."""
        async with asyncio.TaskGroup() as group:
            for kind in _FOLLOWED:
                group.create_task(self._follow(kind))

    def known(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """A ConfigMap or Secret as it was a moment ago, without asking the server."""
        return self._known.get((kind, namespace, name))

    async def fetch(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """The object as it is now, None if it does not exist."""
        try:
            return await self._api.get(path(kind, namespace, name))
        except ApiError as refused:
            if refused.status == 404:
                return None
            raise

    async def token(self, namespace: str, service_account: str, request: JsonObject) -> str:
        """A new token of `service_account`; `request` is the spec of a TokenRequest."""
        where = f"{path('serviceaccounts', namespace, service_account)}/token"
        answer = await self._api.create(
            where, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request}
        )
        return str(answer["status"]["token"])

    async def _follow(self, kind: str) -> None:
        async for event in self._api.follow(f"/api/v1/{kind}"):
            if isinstance(event, Listed):
                gone = {key for key in self._known if key[0] == kind}
                for key in gone:
                    del self._known[key]
                self._known |= {_key(kind, found): found for found in event.objects}
            elif event.kind == "DELETED":
                self._known.pop(_key(kind, event.object), None)
            else:
                self._known[_key(kind, event.object)] = event.object


def _key(kind: str, found: JsonObject) -> _Key:
    return kind, found["metadata"]["namespace"], found["metadata"]["name"]
