"""A Prometheus on this machine that has recorded what we make up: pods that answer evenly."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from modelrollout.planning.answers import BOUNDS, Behaviour, share_below

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that answers evenly from `begins` to `ends` (POSIX seconds)."""

    name: str
    rate: float
    behaviour: Behaviour
    begins: float = 0.0
    ends: float = 1e12

    def answers(self, at: float) -> float | None:
        """How many until then, None when it is not there."""
        return self.rate * (at - self.begins) if self.begins <= at <= self.ends else None


def bad(pod: Pod, moments: list[float]) -> list[Any]:
    """The matrix of its bad answers."""
    return [_series({"pod": pod.name}, pod, moments, pod.behaviour.errors)]


def latency(pod: Pod, moments: list[float]) -> list[Any]:
    """The matrices of its latency buckets."""
    good, found = 1 - pod.behaviour.errors, []
    for bound in BOUNDS:
        labels = {"pod": pod.name, "le": str(bound)}
        found.append(_series(labels, pod, moments, good * share_below(bound / 1e6, pod.behaviour)))
    return [*found, _series({"pod": pod.name, "le": "+Inf"}, pod, moments, good)]


def _series(labels: dict[str, str], pod: Pod, moments: list[float], share: float) -> dict[str, Any]:
    values = [(at, count) for at in moments if (count := pod.answers(at)) is not None]
    return {"metric": labels, "values": [[at, str(round(count * share))] for at, count in values]}


@contextmanager
def prometheus(*pods: Pod) -> Iterator[str]:
    """Its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            start, end, step = (float(asked[key]) for key in ("start", "end", "step"))
            moments = [start + step * number for number in range(int((end - start) / step) + 1)]
            kind = bad if "request_count" in asked["query"] else latency
            wanted = [pod for pod in pods if "canary" in asked["query"] or "canary" not in pod.name]
            result = [series for pod in wanted for series in kind(pod, moments) if series["values"]]
            body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
