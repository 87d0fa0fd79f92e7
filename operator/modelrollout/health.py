"""`/livez` and `/readyz` for the kubelet. Run by `__main__` when an address is set."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def health_server(address: tuple[str, int] | None, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serve while inside.

    `/livez` answers as long as the main loop turns: whatever else fails for good ends the process by itself.
    `/readyz` is 200 once `ready`, 503 before.
    """
    if address is None:
        yield
        return
    app = web.Application()
    app.router.add_get("/livez", _live)
    app.router.add_get("/readyz", _readiness(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
        yield
    finally:
        await runner.cleanup()


async def _live(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _readiness(ready: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="listing\n")

    return answer
