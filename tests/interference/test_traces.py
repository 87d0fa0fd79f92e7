"""A whole rollout as a collector of traces sees it, from an operator in the cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from playground import box
from playground.interference import Operator
from tests.interference.conftest import ALONE
from tests.situations import NEXT, ended, outcome, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from playground.state import State
    from tests.interference.conftest import Unled

pytestmark = pytest.mark.long

_COLLECTOR = """
import http.server, pathlib, sys
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    number = 0
    def do_POST(self):
        Handler.number += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (folder / f"{Handler.number}{self.path.replace('/', '.')}").write_bytes(body)
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def collecting(state: State, folder: Path) -> Iterator[str]:
    """A collector in the box that keeps what it is sent in a folder; gives its address."""
    command = box.enter(state, [sys.executable, "-c", _COLLECTOR, str(folder)])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as collector:
        assert collector.stdout is not None
        try:
            yield f"http://127.0.0.1:{collector.stdout.readline().strip()}"
        finally:
            collector.terminate()


def received(folder: Path) -> list[Span]:
    """Every span in the folder."""
    requests = [ExportTraceServiceRequest.FromString(file.read_bytes()) for file in folder.glob("*.v1.traces")]
    parts = [part for request in requests for part in request.resource_spans]
    return [span for part in parts for scope in part.scope_spans for span in scope.spans]


def test_a_rollout_is_told_in_traces(unled: Callable[[str], Unled], tmp_path: Path) -> None:
    """Passes with their writes and reload calls, measurements with their queries; events and log lines lead to them."""
    given = unled("traced")
    here, lane = given.here, given.lane
    with (
        collecting(here.state, tmp_path) as address,
        Operator(here.state, lane, "--namespace", "traced", ALONE, "--otlp-endpoint", address),
    ):
        start(here)
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            here.kube.apply(here.manifest(NEXT))
            status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    spans = received(tmp_path)
    roots = {span.span_id: span.name for span in spans if not span.parent_span_id}
    parts = {(roots[span.parent_span_id], span.name) for span in spans if span.parent_span_id}
    assert set(roots.values()) == {"reconcile", "measure"}
    assert parts >= {
        ("reconcile", "PATCH modelrollouts"),
        ("reconcile", "PATCH httproutes"),
        ("reconcile", "reload"),
        ("measure", "query"),
    }
    known = {span.trace_id.hex() for span in spans}
    assert traces_of_events(here.kube.list("Event", "traced")) <= known
    lines = [json.loads(line) for line in lane.log.read_text().splitlines()]
    assert {line["trace"] for line in lines if line["event"] == "decision"} <= known


def traces_of_events(events: list[dict[str, Any]]) -> set[str]:
    """The trace that each event about the rollout names; there is one."""
    ours = [event for event in events if event["involvedObject"]["kind"] == "ModelRollout"]
    assert ours
    return {event["metadata"]["annotations"]["modelrollout.io/trace"] for event in ours}
