"""`python -m playground.interference --dir DIR --upstream api=URL ...`: forwards until standard input closes.

Writes the port that it listens on, on the box's loopback, to DIR/port. Started by `Interference`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

from playground.interference.proxy import Proxy


def main() -> None:
    """Forward until the other end of standard input is gone."""
    parser = argparse.ArgumentParser(prog="python -m playground.interference", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the lanes' files, and `port`")
    parser.add_argument("--upstream", action="append", required=True, metavar="NAME=URL")
    parser.add_argument("--ca", type=Path, help="who vouches for https upstreams")
    options = parser.parse_args()
    asyncio.run(_forward(options.dir, dict(pair.split("=", 1) for pair in options.upstream), options.ca))


async def _forward(folder: Path, upstreams: dict[str, str], ca: Path | None) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read_stdin, ended)
    tls = ssl.create_default_context(cafile=str(ca)) if ca else True
    connector = aiohttp.TCPConnector(limit=0, ssl=tls)
    forever = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=forever, auto_decompress=False) as session:
        proxy = Proxy(upstreams, folder, session)
        runner = web.AppRunner(proxy.application(), handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _write_port(folder, runner.addresses[0][1])
        await ended.wait()
        await runner.cleanup()
        proxy.close()


def _write_port(folder: Path, port: int) -> None:
    """By a rename: whoever sees the file sees all of it."""
    scratch = folder / "port.new"
    scratch.write_text(str(port))
    scratch.rename(folder / "port")


def _read_stdin(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        ended.set()


if __name__ == "__main__":
    main()
