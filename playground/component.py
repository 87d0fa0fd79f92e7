"""What the supervisor knows of a component, and the means to tell whether one is ready."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from playground.processes import Processes
    from playground.state import State

_PROBE_SECONDS = 2.0
_TRIES = 60
_RETRY_SECONDS = 0.2


class PreparationError(Exception):
    """What a component needs before it starts could not be made; the message names what failed."""


@dataclass(frozen=True)
class Binaries:
    """Folders of the Go programs in the cache."""

    controlplane: Path
    envoy_gateway: Path
    prometheus: Path


@dataclass(frozen=True)
class Surroundings:
    """What preparations and readiness checks work with."""

    state: State
    binaries: Binaries
    env: Mapping[str, str]
    """Environment of every process in the box."""
    processes: Processes
    token: str
    """The administrator's."""

    @property
    def ca_file(self) -> Path:
        """The API server's certificate, which is its own authority."""
        return self.state.data / "certificates" / "apiserver.crt"

    async def do(self, log: str, *argv: str) -> None:
        """Run a preparation step; its output goes to the log of that name.

        Raises:
            PreparationError: it exits with another status than 0.
        """
        status = await self.processes.run(argv, self.env, self.state.log(log))
        if status:
            raise PreparationError(f"`{Path(argv[0]).name} {' '.join(argv[1:])}` ended with status {status}")

    async def established(self, log: str) -> None:
        """Wait until the API server serves every custom resource that has been defined.

        Raises:
            PreparationError: it does not after many tries; kubectl fails at once on a definition without conditions.
        """
        wait = ("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        for _ in range(_TRIES):
            with contextlib.suppress(PreparationError):
                await self.kubectl(log, *wait)
                return
            await asyncio.sleep(_RETRY_SECONDS)
        raise PreparationError("the API server does not serve the custom resources")

    async def kubectl(self, log: str, *arguments: str) -> None:
        """Run kubectl as the administrator, whom the environment names."""
        await self.do(log, "kubectl", *arguments)


@dataclass(frozen=True)
class Component:
    """A process of the box, what it needs, and how it shows that it works."""

    name: str
    argv: tuple[str, ...]
    """Empty: nothing runs, the preparation is all there is to it."""
    needs: tuple[str, ...] = ()
    """Components that must be ready before this one is prepared and started."""
    prepare: Callable[[Surroundings], Awaitable[None]] | None = None
    ready: Callable[[Surroundings], Awaitable[bool]] | None = None
    """None: ready as soon as it has been started."""
    env: Mapping[str, str] = field(default_factory=dict)
    restarts: bool = False
    """Whether an exit leads to a restart with back-off, as a kubelet would do it."""


def answers(url: str) -> Callable[[Surroundings], Awaitable[bool]]:
    """A check that a URL answers 200 to the administrator."""

    async def check(around: Surroundings) -> bool:
        secure = ssl.create_default_context(cafile=str(around.ca_file)) if url.startswith("https") else True
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PROBE_SECONDS)) as session,
                session.get(url, ssl=secure, headers={"Authorization": f"Bearer {around.token}"}) as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return check


def listens(host: str, port: int) -> Callable[[Surroundings], Awaitable[bool]]:
    """A check that somebody accepts connections at an address."""

    async def check(around: Surroundings) -> bool:
        del around  # anybody may connect
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return check
