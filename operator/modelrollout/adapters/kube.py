"""A small client of the Kubernetes API on plain dicts: no models, so that no field is ever lost or refused on reading.

Used by the other Kubernetes adapters and by the sweep. The kubernetes package loads the credentials; requests go
through aiohttp directly, at a third of the package's CPU time per request.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from modelrollout.adapters.credentials import Credentials
from modelrollout.core.names import MANAGER
from modelrollout.core.values import JSON
from modelrollout.errors import ClusterUnavailable, Conflict, OperatorError, Refused
from modelrollout.lean import lean_answer, without_items
from modelrollout.metrics import count_request
from modelrollout.ports import Fence
from modelrollout.resources import CHUNK, Listing, Resource, plural_of
from modelrollout.tracing import span

_SECONDS = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=_SECONDS, connect=2)
_LIST_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=2)
_CONNECTIONS = 64
_JSON, _MERGE, _APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


class NotFound(Refused):
    """There is no such object, or no such kind (404)."""


class Forbidden(Refused):
    """The operator's service account lacks the right (403)."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, ready to be sent again."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: JSON | None = None
    content_type: str = _JSON
    limits: aiohttp.ClientTimeout = _TIMEOUT


class KubeClient:
    """Every method raises ClusterUnavailable, Conflict or Refused (NotFound and Forbidden are two of it)."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession, fence: Fence | None = None) -> None:
        """Use `connect` to get one."""
        self._credentials = credentials
        self._session = session
        self._fence = fence

    def fenced(self, fence: Fence) -> "KubeClient":
        """The same client, whose writes the fence must permit."""
        return KubeClient(self._credentials, self._session, fence)

    async def get(self, resource: Resource, namespace: str, name: str) -> JSON:
        """One object."""
        return await self._call(_Request("GET", resource.path(namespace, name)))

    async def find(self, resource: Resource, namespace: str, name: str) -> JSON | None:
        """One object, None when there is none."""
        try:
            return await self.get(resource, namespace, name)
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
        keep: Callable[[Any], Any] = lambda page: page,
    ) -> Listing:
        """All objects that the selectors leave, read in pages; `keep` says what stays of each page."""
        items: list[JSON] = []
        params = {"limit": str(CHUNK), "labelSelector": selector, "fieldSelector": fields, "continue": ""}
        while True:
            sent = {name: value for name, value in params.items() if value}
            page = keep(await self._call(_Request("GET", resource.path(namespace), sent, limits=_LIST_TIMEOUT)))
            if "items" not in page:
                raise ClusterUnavailable(f"what answered is no API server: no list at {resource.path(namespace)}")
            items += page["items"] or ()
            metadata = page.get("metadata") or {}
            params["continue"] = metadata.get("continue", "")
            if not params["continue"]:
                return Listing(tuple(items), int(metadata.get("resourceVersion") or 0))

    async def list_watched(self, resource: Resource, namespace: str | None) -> Listing | None:
        """All objects of a kind that concern the operator, lean; None when the API server has no such kind."""
        try:
            return await self.list(resource, namespace, resource.selector, keep=lean_answer)
        except NotFound:
            return None

    async def create(self, resource: Resource, namespace: str, body: JSON) -> JSON:
        """A new object."""
        return await self._call(_Request("POST", resource.path(namespace), {"fieldManager": MANAGER}, body))

    async def apply(self, resource: Resource, body: JSON, force: bool = True) -> JSON:
        """Server-side apply; the same again changes nothing, not even the resourceVersion.

        Without force it is a Conflict when somebody else has set one of the fields to something else.
        """
        path = resource.path(body["metadata"]["namespace"], body["metadata"]["name"])
        params = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        return await self._call(_Request("PATCH", path, params, body, _APPLY))

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, body: JSON, subresource: str = ""
    ) -> JSON:
        """Merge; with a resourceVersion in the body it is a Conflict unless the object is still at that."""
        path = resource.path(namespace, name, subresource)
        return await self._call(_Request("PATCH", path, {"fieldManager": MANAGER}, body, _MERGE))

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> JSON:
        """Delete in the background; Conflict when another object has the name by now.

        Gives a Status once it is gone, or the object when finalizers keep it for a while.
        """
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        return await self._call(_Request("DELETE", resource.path(namespace, name), body=body))

    async def watch(self, resource: Resource, namespace: str, name: str, seconds: int) -> AsyncGenerator[JSON, None]:
        """One object as it is, then after each change, until so many seconds are over or the connection is."""
        params = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(seconds)}
        url, limits = self._credentials.server + resource.path(namespace), aiohttp.ClientTimeout(seconds + 5, connect=2)
        headers, tls = await self._credentials.headers(), self._credentials.tls
        try:
            async with self._session.get(url, params=params, headers=headers, timeout=limits, ssl=tls) as response:
                if response.status >= 400:
                    raise _error(response.status, (await response.text())[:500])
                async for line in response.content:
                    yield _parse(line).get("object") or {}
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a line without end is a ValueError
            raise ClusterUnavailable(f"the watch ended: {error!r}") from error

    async def ping(self) -> None:
        """Ask what anybody may ask; nothing comes of it but an error."""
        await self._call(_Request("GET", "/version"))

    async def _call(self, request: _Request) -> dict[str, Any]:
        if request.method == "GET":
            return await self._answer(request)
        with span(f"{request.method} {plural_of(request.path)}", path=request.path):
            return await self._answer(request)

    async def _answer(self, request: _Request) -> dict[str, Any]:
        status, text = await self._send(request)
        if status == 401:
            await self._credentials.load()
            status, text = await self._send(request)
        answer = _parse(text)
        if status >= 400:
            said = answer.get("message") or text.decode(errors="replace").strip()[:500]
            # For a kind that it does not know, the API server only says "404 page not found".
            raise _error(status, said if answer else f"{said}: {request.path}")
        if not answer:
            raise ClusterUnavailable(f"what answered is no API server: no JSON at {request.path}")
        return answer

    async def _send(self, request: _Request) -> tuple[int, bytes]:
        data = None if request.body is None else json.dumps(request.body).encode()
        headers = {"Content-Type": request.content_type, **await self._credentials.headers()}
        limits = request.limits
        if self._fence is not None and request.method != "GET":
            # Nothing is awaited between this and the request: a process that stood still meanwhile finds out here.
            permitted = self._fence.permit()
            limits = aiohttp.ClientTimeout(min(permitted, _SECONDS), connect=2)
        try:
            async with self._session.request(
                request.method,
                self._credentials.server + request.path,
                params=request.params,
                data=data,
                headers=headers,
                timeout=limits,
                ssl=self._credentials.tls,
            ) as response:
                count_request(request.method, request.path, response.status)
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            count_request(request.method, request.path, None)
            reason = str(error) or type(error).__name__
            raise ClusterUnavailable(f"the API server did not answer: {reason}") from error


@asynccontextmanager
async def connect(credentials: Credentials) -> AsyncIterator[KubeClient]:
    """A client for the running event loop; credentials must be loaded."""
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    headers = {"User-Agent": MANAGER, "Accept": _JSON}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield KubeClient(credentials, session)


async def watch_session(credentials: Credentials, trace: aiohttp.TraceConfig) -> tuple[str, aiohttp.ClientSession]:
    """The API server's address and a session of its own for watches, which whoever asks for it closes."""
    await credentials.load()
    connector, headers = aiohttp.TCPConnector(limit=0, ssl=credentials.tls), await credentials.headers()
    session = aiohttp.ClientSession(
        connector=connector, headers=headers, trace_configs=[trace], response_class=_NothingListed
    )
    return credentials.server, session


class _NothingListed(aiohttp.ClientResponse):
    """kopf lists to know from when on to watch. What there is, the sweep lists, page by page; kopf would begin a task
    for each object at once.
    """

    async def json(self, **options: Any) -> Any:
        """As aiohttp has it."""
        return without_items(await super().json(**options))


def _parse(text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _error(status: int, message: str) -> OperatorError:
    if status == 409:
        return Conflict(message)
    if status == 404:
        return NotFound(message)
    if status == 403:
        return Forbidden(message)
    # 410: a listing took so long that its place expired; 401: the token is being changed.
    if status in {401, 408, 410, 429} or status >= 500:
        return ClusterUnavailable(f"the API server answered {status}: {message}")
    return Refused(message)
