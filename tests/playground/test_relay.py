"""The relays between the box and the host: playground/relay.py."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playground import relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with all that came, once the sender has said that it is all."""
    content = await reader.read(-1)
    writer.write(content)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def _relayed(folder: Path) -> AsyncIterator[int]:
    """An echo server behind two relays, TCP to unix to TCP, as between host and box; gives the outer port."""
    async with AsyncExitStack() as stack:
        echo = await stack.enter_async_context(await asyncio.start_server(_echo, "127.0.0.1", 0))
        target = relay.Tcp("127.0.0.1", echo.sockets[0].getsockname()[1])
        socket = folder / "a.sock"
        await stack.enter_async_context(await relay.serve(relay.Unix(socket), target))
        outer = await stack.enter_async_context(await relay.serve(relay.Tcp("127.0.0.1", 0), relay.Unix(socket)))
        yield relay.port(outer)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _ask(port: int, content: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    writer.write_eof()
    answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_long_message_comes_back_whole_although_each_side_is_slow(tmp_path: Path) -> None:
    """8 MiB pass through both relays with the end of the one direction told before the other begins."""
    content = bytes(range(256)) * 32768
    async with _relayed(tmp_path) as port:
        assert await _ask(port, content) == content


async def test_hundreds_of_connections_leave_nothing_behind(tmp_path: Path) -> None:
    """600 connections, 50 at a time, are all answered, and no descriptor stays open for any of them."""
    before = _descriptors()
    async with _relayed(tmp_path) as port:
        for number in range(12):
            content = f"message {number}".encode()
            answers = await asyncio.gather(*(_ask(port, content) for _ in range(50)))
            assert set(answers) == {content}
    await asyncio.sleep(0)
    assert _descriptors() <= before + 1  # the echo server's own, at most


async def test_a_relay_to_nobody_closes_the_connection(tmp_path: Path) -> None:
    """Somebody who connects while the other end is away sees the connection end, and the relay goes on."""
    async with await relay.serve(relay.Tcp("127.0.0.1", 0), relay.Unix(tmp_path / "nobody.sock")) as server:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port(server))
            with contextlib.suppress(ConnectionResetError):  # the other form of an end
                assert await reader.read(1) == b""
            writer.close()


async def test_a_socket_deep_in_the_file_system_can_be_used(tmp_path: Path) -> None:
    """The kernel's limit of 107 bytes for a socket's path does not limit where a state directory lies."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with _relayed(deep) as port:
        assert await _ask(port, b"hello") == b"hello"
