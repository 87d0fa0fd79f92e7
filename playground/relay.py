"""Relays byte streams between the box and the host: one listens, the other end is dialled per connection.

A unix socket with a path crosses network namespaces: a relay inside listens on `run/api.sock` and dials the API
server, one outside (playground/host.py) listens on 127.0.0.1 and dials the socket.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from playground.state import socket_path

_BACKLOG = 1024


@dataclass(frozen=True)
class Unix:
    """A unix socket."""

    path: Path


@dataclass(frozen=True)
class Tcp:
    """A TCP address; port 0 takes a free one when listening."""

    host: str
    port: int


Address = Unix | Tcp


class _End(asyncio.Protocol):
    """One end of a relayed connection; hands over to its peer what it receives, and the peer's slowness."""

    def __init__(self, peer: _End | None = None) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.peer and self.peer.transport and not self.peer.transport.is_closing():
            with contextlib.suppress(OSError):  # the peer closed in the same moment; connection_lost follows
                self.peer.transport.write_eof()
        return not (self.peer and self.peer.ended)  # the other direction stays open until it ends too

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # the peer's user sees the connection end, as without a relay
        self.transport = None
        if self.peer and self.peer.transport:
            self.peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.resume_reading()


class _Accepted(_End):
    """The accepted end: keeps what comes before the other side has been reached, and asks for no more of it."""

    def __init__(self, dial: Address, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._dial = dial
        self._tasks = tasks
        self._early = bytearray()

    def data_received(self, data: bytes) -> None:
        # Python 3.11.2 reads from a transport that was paused while it was made.
        if self.peer is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport:
            self.transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._reach())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self) -> None:
        other = _End(self)
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._dial, Unix):
                await loop.create_unix_connection(lambda: other, socket_path(self._dial.path))
            else:
                await loop.create_connection(lambda: other, self._dial.host, self._dial.port)
        except OSError:  # nobody listens there: the caller sees a closed connection
            if self.transport:
                self.transport.abort()
            return
        self.peer = other
        if self._early and other.transport:
            other.transport.write(bytes(self._early))
        if self.transport:
            self.transport.resume_reading()
        elif other.transport:  # the caller has gone meanwhile
            other.transport.close()


async def serve(listen: Address, dial: Address) -> asyncio.Server:
    """Start a relay; it runs until the returned server is closed."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def accepted() -> _Accepted:
        return _Accepted(dial, tasks)

    if isinstance(listen, Tcp):
        return await loop.create_server(accepted, listen.host, listen.port, backlog=_BACKLOG)
    listen.path.unlink(missing_ok=True)
    return await loop.create_unix_server(accepted, socket_path(listen.path), backlog=_BACKLOG)


def port(server: asyncio.Server) -> int:
    """The TCP port that a relay listens on."""
    number: int = server.sockets[0].getsockname()[1]
    return number


async def _main(pairs: list[tuple[Path, Tcp]]) -> None:
    servers = [await serve(Unix(path), target) for path, target in pairs]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _pair(text: str) -> tuple[Path, Tcp]:
    path, _, address = text.partition("=")
    host, _, number = address.rpartition(":")
    return Path(path), Tcp(host, int(number))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m playground.relay", description=__doc__)
    parser.add_argument("pair", nargs="+", type=_pair, metavar="SOCKET=HOST:PORT")
    asyncio.run(_main(parser.parse_args().pair))
