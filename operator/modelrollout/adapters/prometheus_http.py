"""Requests to Prometheus: how they are secured and sent, and what is said when one fails. Used by `prometheus` alone.

Nothing that is said holds a credential, not even when Prometheus itself repeats it.
"""

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from modelrollout.access import Fresh, PrometheusAccess
from modelrollout.errors import MetricsUnavailable, UnusableFile

_IN_FLIGHT = 10
"""Queries to one address at a time: half of what a Prometheus runs by default."""
_CONNECT_SECONDS = 2.0
_LONGEST = 500
_LONGEST_ADDRESS = 6000
"""Characters of what is asked that go into an address: servers and proxies refuse one of more than 8 kB. Longer ones
are asked by POST, for which some proxies want more rights than for GET."""
_LARGEST = 16 * 2**20
"""Bytes of an answer; of a thousand pods it is a tenth. Whoever writes a ModelRollout chooses who answers."""
_HIDDEN, _ADDRESS = "***", "the Prometheus address"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, the JSON of the body (None where it is none), and what must not be repeated of it."""

    status: int
    body: Any
    secrets: tuple[str, ...] = ()

    def said(self, words: object) -> str:
        """Words of the answer, in bounds, without the credentials of the request: some servers repeat those."""
        text = str(words)
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text[:_LONGEST]


@dataclass(frozen=True, slots=True)
class _Way:
    """One Prometheus: where it is asked, and what we prove ourselves by."""

    url: str
    headers: dict[str, str]
    tls: ssl.SSLContext | bool
    leads_on: bool
    """Whether to go where it redirects to: our certificate would be shown there, too."""


@dataclass(slots=True)
class PrometheusHttp:
    """Asks Prometheus at any address; with our access where it is meant for it. Lives in one event loop."""

    access: PrometheusAccess
    _ways: dict[str, Fresh[_Way]] = field(default_factory=dict)
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    async def ask(self, address: str, asked: Mapping[str, str], seconds: float) -> Answer:
        """Run an instant query. Raises MetricsUnavailable when there is no answer within so many seconds."""
        host = host_of(address)
        try:
            way = self._way(address)
            async with asyncio.timeout(seconds), self._slots.setdefault(address, asyncio.Semaphore(_IN_FLIGHT)):
                return await self._send(way, asked)
        except UnusableFile as error:
            raise MetricsUnavailable(str(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MetricsUnavailable(f"{host}{_why(error, seconds)}") from None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, way: _Way, asked: Mapping[str, str]) -> Answer:
        if self._session is None:
            # No proxies for an address inside the cluster, no passwords out of ~/.netrc, and no cookies: one host
            # may be asked as several users.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        limits = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS)
        short = len(urlencode(asked)) <= _LONGEST_ADDRESS
        async with self._session.request(
            "GET" if short else "POST",
            way.url,
            params=asked if short else None,
            data=None if short else asked,
            headers=way.headers,
            ssl=way.tls,
            allow_redirects=way.leads_on,
            timeout=limits,
        ) as response:
            text = await _body(response)
            sent = response.request_info.headers.get("Authorization", "")
            return Answer(response.status, _parsed(text), tuple(_credentials(sent)))

    def _way(self, address: str) -> _Way:
        """Made anew when a file of our access was replaced: connections are shared by those of one way alone."""
        if address not in self._ways:
            access = self.access.for_address(address)
            self._ways[address] = Fresh(access.files, lambda: _way_to(address, access))
        return self._ways[address].get()


def _way_to(address: str, access: PrometheusAccess) -> _Way:
    """Raises UnusableFile."""
    parts, headers = urlsplit(address), {"Accept-Encoding": "identity"}  # a few kB: not worth the time to pack them
    if access.token is not None:
        headers["Authorization"] = f"Bearer {access.token.line()}"
    if access.user is not None and access.password is not None:
        user = base64.b64encode(f"{access.user.line()}:{access.password.line()}".encode())
        headers["Authorization"] = f"Basic {user.decode()}"
    if "Authorization" in headers:
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    url = f"{parts.geturl().rstrip('/')}/api/v1/query"
    # Without files all addresses share one context: each holds all authorities of the system.
    tls = access.tls.context() if access.tls.files else True
    return _Way(url, headers, tls, leads_on=access.tls.certificate is None)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for part in response.content.iter_any():
        found += part
        if len(found) > _LARGEST:
            raise MetricsUnavailable(f"{response.url.host} answers with more than {_LARGEST >> 20} MiB")
    return bytes(found)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _credentials(header: str) -> list[str]:
    """What must not be repeated of an Authorization header."""
    kind, _, credential = header.partition(" ")
    found = [credential]
    if kind == "Basic":
        try:
            found.append(base64.b64decode(credential).decode().partition(":")[2])
        except (binascii.Error, ValueError):
            return found
    return [secret for secret in found if secret]


def _why(error: Exception, seconds: float) -> str:
    """What went wrong within so many seconds, in a few words, without the address: it may hold a password."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f": TLS: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f": TLS: {(cause.reason or 'failed').lower().replace('_', ' ')}"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return " cannot be reached"
    if isinstance(error, TimeoutError):
        return f" did not answer within {seconds:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return ": it closed the connection"
    return f": {type(error).__name__}"


def host_of(address: str) -> str:
    """Host and port, for people: without user and password."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2] or _ADDRESS
    except ValueError:
        return _ADDRESS
