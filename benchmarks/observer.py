"""`python -m benchmarks.observer`: runs in the box during a benchmark and notes what happens, and when.

It watches every HTTPRoute and ModelRollout, and stands between the operator and Prometheus, so that the
time of a query's answer is taken on the wire. One line of JSON per event (see Event in benchmarks/timeline.py).
Started by benchmarks/lab.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from playground.node_agent.api import Api, Listed, access

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.node_agent.model import JsonObject

_GONE_AFTER = 3
"""Bad answers in a query's result: with this many, `limits` of the benchmark are broken for certain."""
_ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes"
_ROLLOUTS = "/apis/modelrollout.io/v1alpha1/modelrollouts"


@dataclass
class Notes:
    """The file of events. Values that did not change are not noted again."""

    file: IO[str]
    last: dict[tuple[str, str], JsonObject] = field(default_factory=dict)

    def write(self, what: str, name: str, **facts: Any) -> None:
        """Note an event of this moment."""
        self.file.write(json.dumps({"at": time.time(), "what": what, "name": name, **facts}) + "\n")

    def changed(self, what: str, name: str, **facts: Any) -> None:
        """Note it if the facts differ from the last."""
        if self.last.get((what, name)) != facts:
            self.last[what, name] = facts
            self.write(what, name, **facts)


async def _follow(api: Api, path: str, see: Callable[[JsonObject], None]) -> None:
    async for event in api.follow(path):
        for item in event.objects if isinstance(event, Listed) else (event.object,):
            see(item)


def _see_route(notes: Notes, route: JsonObject) -> None:
    for backend in route["spec"]["rules"][0].get("backendRefs", ()):
        if backend["name"].endswith("-canary"):
            notes.changed("weight", route["metadata"]["name"], weight=int(backend["weight"]))


def _see_rollout(notes: Notes, item: JsonObject) -> None:
    status = item.get("status", {})
    rollout, version = status.get("rollout", {}), status.get("stable", {}).get("version")
    facts = {
        "phase": status.get("phase"),
        "stage": rollout.get("stage"),
        "stable": version,
        "live": rollout.get("weightLive"),
    }
    notes.changed("status", item["metadata"]["name"], **facts)


@dataclass
class Relay:
    """Between the operator and Prometheus. While `gone` exists, it is gone for good from the first verdict on."""

    upstream: str
    gone: Path
    notes: Notes
    session: aiohttp.ClientSession
    _last_moment: float | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass one query on. Rounds after the one that showed bad answers find nobody, in the variant for it."""
        asked, moment = time.time(), float(request.query.get("time", 0))
        if not self.gone.exists():
            self._last_moment = None
        elif self._last_moment is not None and moment > self._last_moment:
            self.notes.write("refused", request.query["query"], moment=moment)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        async with self.session.get(self.upstream + request.path, params=request.query) as response:
            body = await response.read()
        if (
            self.gone.exists()
            and self._last_moment is None
            and bad_answers(request.query["query"], body) >= _GONE_AFTER
        ):
            self._last_moment = moment
        self.notes.write("answer", request.query.get("query", ""), asked=asked, moment=moment)
        return web.Response(status=response.status, body=body, content_type="application/json")


def bad_answers(query: str, body: bytes) -> float:
    """Bad answers of canary pods in the result of the query that counts them, among other things."""
    if 'status!="OK"' not in query:
        return 0
    found = json.loads(body).get("data", {}).get("result", ())
    now = (item for item in found if item["metric"].get("modelrollout_part") == "bad0")
    bad = (item for item in now if "-canary-" in item["metric"]["pod"])
    return sum(float(item["value"][1]) for item in bad)


async def _observe(options: argparse.Namespace, notes: Notes) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    host, _, port = options.listen.partition(":")
    async with Api(access(Path(os.environ["KUBECONFIG"]))) as api, aiohttp.ClientSession() as session:
        app = web.Application()
        app.router.add_get("/{path:.*}", Relay(options.prometheus, options.gone, notes, session).answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)  # the operator keeps its connections open
        await runner.setup()
        await web.TCPSite(runner, host, int(port)).start()
        tasks = [
            asyncio.create_task(_follow(api, _ROUTES, lambda item: _see_route(notes, item))),
            asyncio.create_task(_follow(api, _ROLLOUTS, lambda item: _see_rollout(notes, item))),
        ]
        notes.write("ready", "observer")
        await stopped.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()


def main() -> None:
    """Observe until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observer", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="where the operator finds Prometheus")
    parser.add_argument("--prometheus", required=True, help="URL of the real one")
    parser.add_argument("--gone", type=Path, required=True, help="while this file exists, be gone after a verdict")
    parser.add_argument("--events", type=Path, required=True)
    options = parser.parse_args()
    with options.events.open("w", buffering=1) as file:
        asyncio.run(_observe(options, Notes(file)))


if __name__ == "__main__":
    main()
