"""A small web server beside the main loop's work. Used by `health` and `alerting`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def served(app: web.Application, address: tuple[str, int]) -> AsyncIterator[None]:
    """Serve `app` at host and port while inside. Raises OSError when the port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)  # nobody's slow request delays the end
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
        yield
    finally:
        await runner.cleanup()
