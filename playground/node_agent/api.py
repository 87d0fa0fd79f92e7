"""The API server over bare aiohttp: the four verbs that an agent needs, and lists that are followed for ever.

Made once by :mod:`playground.node_agent.__main__` and handed to every part that reads or writes objects.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from playground.node_agent.model import JsonObject

log = logging.getLogger(__name__)

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
_GONE = 410
_LARGEST_LINE = 1 << 22
"""Bytes; an event of a watch is one line, and an object may have about 1.5 MiB."""


class ApiError(Exception):
    """The API server refused: `status` is the HTTP status, `reason` its word for it, for example
    ``NotFound``.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to be let in."""

    server: str
    tls: ssl.SSLContext
    headers: Mapping[str, str]


def access(kubeconfig: Path) -> Access:
    """Reads the current context of `kubeconfig`: a token, or a client certificate, and the authority to
    trust.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    elif "certificate-authority-data" in cluster:
        tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif "certificate-authority" in cluster:
        tls.load_verify_locations(kubeconfig.parent / cluster["certificate-authority"])
    if "client-certificate" in user:
        tls.load_cert_chain(kubeconfig.parent / user["client-certificate"], kubeconfig.parent / user["client-key"])
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return Access(cluster["server"], tls, headers)


def _named(entries: list[JsonObject], name: str) -> JsonObject:
    return next(entry for entry in entries if entry["name"] == name)


@dataclass(frozen=True)
class Listed:
    """Everything that exists at this moment; what was known before and is not in it has gone."""

    objects: tuple[JsonObject, ...]


@dataclass(frozen=True)
class Changed:
    """One object appeared, changed or went."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    object: JsonObject


class Api:
    """A session with the API server; an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url=self._access.server,
            headers=self._access.headers,
            connector=aiohttp.TCPConnector(ssl=self._access.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=_LARGEST_LINE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **parameters: str) -> JsonObject:
        """The object or list at `path`."""
        return await self._ask("GET", path, parameters)

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        """Creates `body` in the collection at `path`; returns the object as it was stored."""
        return await self._ask("POST", path, {}, body)

    async def patch(self, path: str, body: JsonObject, content_type: str = STRATEGIC) -> JsonObject:
        """Patches the object at `path`; returns it as it is now."""
        return await self._ask("PATCH", path, {}, body, content_type)

    async def delete(self, path: str, body: JsonObject) -> JsonObject:
        """Deletes the object at `path` with the delete options `body`."""
        return await self._ask("DELETE", path, {}, body)

    async def follow(self, path: str, **parameters: str) -> AsyncIterator[Listed | Changed]:
        """Lists the collection at `path` and then reports each change, for ever, across lost connections.

        A server that no longer knows where we were is asked for the whole list again.
        """
        version, pause = "", 0.1
        while True:
            try:
                if not version:
                    answer = await self.get(path, **parameters)
                    version = answer["metadata"]["resourceVersion"]
                    yield Listed(tuple(answer.get("items") or ()))
                async for event in self._watch(path, version, parameters):
                    version, pause = event["object"]["metadata"]["resourceVersion"], 0.1
                    if event["type"] != "BOOKMARK":
                        yield Changed(event["type"], event["object"])
            except ApiError as refused:
                log.warning("watch of %s begins anew: %s", path, refused)
                version = ""
            except (aiohttp.ClientError, TimeoutError) as lost:
                log.warning("watch of %s lost: %s", path, lost)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _watch(self, path: str, version: str, parameters: Mapping[str, str]) -> AsyncIterator[JsonObject]:
        """Events after `version` until the server closes the watch; ERROR events come as exceptions."""
        query = {
            **parameters, "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
        }  # fmt: skip
        forever = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=330)
        async with self._open().get(path, params=query, timeout=forever) as response:
            await _refuse(response)
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", _GONE), status.get("reason", ""), status.get("message", ""))
                yield event

    async def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: JsonObject | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._open().request(method, path, params=parameters, data=data, headers=headers) as response:
            await _refuse(response)
            answer: JsonObject = await response.json()
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("an Api is used inside `async with`")
        return self._session


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Raises ApiError when the answer is not a success."""
    if response.status < 400:
        return
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        status = {"message": text}
    raise ApiError(response.status, status.get("reason", ""), status.get("message", ""))
