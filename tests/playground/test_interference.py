"""The program between operators and what they talk to, against a server of the tests' own: playground/interference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from playground.interference import WATCHES, WRITES, Lane, Rule
from playground.interference.rules import dump, parse
from playground.paths import PYTHONPATH
from tests.playground.model_server_subject import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 50
_PAUSE = 0.05


class Upstream(BaseHTTPRequestHandler):
    """Says what it was asked; to a watch it tells one number after another."""

    protocol_version = "HTTP/1.1"
    heard: list[tuple[str, str, str]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.heard.append((self.command, self.path, body))
        if "watch=1" in self.path:
            self._tell_numbers()
            return
        content = json.dumps({"method": self.command, "path": self.path, "body": body}).encode()
        self.send_response(201 if self.command == "POST" else 200)
        self.send_header("X-Upstream", "yes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _tell_numbers(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for number in range(EVENTS):
                self.wfile.write(f"{number}\n".encode())
                time.sleep(_PAUSE)
        except OSError:  # the watch was cut
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - named for the methods, as the library wants it

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@dataclass
class Program:
    """The program, running, with two names for one upstream and one for nobody."""

    folder: Path
    address: str
    heard: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program in front of an upstream."""
    folder, heard = tmp_path_factory.mktemp("lanes"), list[tuple[str, str, str]]()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Heard", (Upstream,), {"heard": heard}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there, away = f"http://127.0.0.1:{server.server_port}", f"http://127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "playground.interference", "--dir", str(folder)]
    argv += ["--upstream", f"api={there}", "--upstream", f"prometheus={there}", "--upstream", f"away={away}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={"PYTHONPATH": PYTHONPATH}) as running:
        while not (folder / "port").exists():
            assert running.poll() is None
            time.sleep(0.02)
        yield Program(folder, f"http://127.0.0.1:{(folder / 'port').read_text()}", heard)
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(20) == 0
    server.shutdown()
    server.server_close()


@pytest.fixture
def heard(program: Program) -> list[tuple[str, str, str]]:
    """What has reached the upstream in this test: method, path, body."""
    program.heard.clear()
    return program.heard


@pytest.fixture
def lane(program: Program, request: pytest.FixtureRequest) -> Lane:
    """A lane of the test's own."""
    name = re.sub(r"\W", "-", request.node.name)
    return Lane(name, program.folder, f"{program.address}/api/{name}", f"{program.address}/prometheus/{name}")


def ask(lane: Lane, method: str, path: str, body: str = "") -> requests.Response:
    """One request by way of the lane."""
    return requests.request(method, lane.api + path, data=body, timeout=20)


def numbers(lane: Lane) -> Iterator[int]:
    """What a watch tells, until it ends."""
    with requests.get(f"{lane.api}/pods?watch=1", stream=True, timeout=20) as answer:
        for line in answer.iter_lines(chunk_size=None):
            yield int(line)


def test_a_request_passes_untouched(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """Without rules method, path, query, body, status and headers come through as they are."""
    answer = ask(lane, "POST", "/api/v1/pods?fieldManager=a%2Fb&force=true", '{"a": 1}')
    assert (answer.status_code, answer.headers["X-Upstream"]) == (201, "yes")
    assert heard == [("POST", "/api/v1/pods?fieldManager=a%2Fb&force=true", '{"a": 1}')]


def test_the_first_rule_that_matches_decides_while_it_lasts(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """A rule lets its first matches pass, takes the next ones, and is over; what matches none is not counted."""
    lane.obey(Rule(method=WRITES, target="/status", status=429, retry_after=7, skip=1, times=2))
    got = []
    for path in ("/a/status", "/a/status", "/a/spec", "/a/status", "/a/status"):
        answer = ask(lane, "PATCH", path)
        got.append((answer.status_code, answer.headers.get("Retry-After")))
    assert got == [(200, None), (429, "7"), (200, None), (429, "7"), (200, None)]
    assert [path for _, path, _ in heard] == ["/a/status", "/a/spec", "/a/status"]
    assert ask(lane, "GET", "/a/status").status_code == 200


def test_new_rules_count_anew(lane: Lane) -> None:
    """Rules that are written again begin at their first match; no rules let everything pass."""
    for _ in range(2):
        lane.obey(Rule(status=500, times=1))
        assert [ask(lane, "GET", "/x").status_code for _ in range(2)] == [500, 200]
    lane.obey()
    assert ask(lane, "GET", "/x").status_code == 200


def test_a_rule_may_look_into_the_body(lane: Lane) -> None:
    """Writes are told apart by what they say."""
    lane.obey(Rule(body='"weight": 50', status=409))
    assert ask(lane, "PATCH", "/route", '{"weight": 50}').status_code == 409
    assert ask(lane, "PATCH", "/route", '{"weight": 20}').status_code == 200


@pytest.mark.parametrize("forward", [False, True], ids=["kept", "forwarded"])
def test_an_answer_is_lost(lane: Lane, heard: list[tuple[str, str, str]], forward: bool) -> None:
    """A dropped request gets no answer; with `forward` it has reached the upstream all the same."""
    lane.obey(Rule(drop=True, forward=forward))
    with pytest.raises(requests.ConnectionError):
        ask(lane, "PATCH", "/a")
    assert bool(heard) == forward
    assert [entry.status for entry in lane.did("dropped")] == [0]


@pytest.mark.parametrize("forward", [False, True], ids=["before the write", "after the write"])
def test_the_process_is_killed_at_a_write(lane: Lane, heard: list[tuple[str, str, str]], forward: bool) -> None:
    """SIGKILL comes before the write is forwarded, or after that and before its answer."""
    with subprocess.Popen(["sleep", "60"]) as victim:
        lane.pid.write_text(str(victim.pid))
        lane.obey(Rule(method=WRITES, kill=True, forward=forward, skip=1, times=1))
        ask(lane, "PATCH", "/first")
        assert victim.poll() is None
        with pytest.raises(requests.ConnectionError):
            ask(lane, "PATCH", "/second")
        assert victim.wait(20) == -9
    assert [path for _, path, _ in heard] == (["/first", "/second"] if forward else ["/first"])
    assert len(lane.did("killed")) == 1


def test_a_watch_streams_until_it_is_cut(lane: Lane) -> None:
    """What a watch tells comes through one by one; a rule that drops also cuts the watches under way."""
    told = []
    with suppress(requests.RequestException):
        for number in numbers(lane):
            told.append(number)
            if number == 1:
                lane.obey(Rule(target=WATCHES, drop=True))
    assert told == list(range(len(told)))
    assert 2 <= len(told) < EVENTS


def test_a_cut_lets_watches_come_again(lane: Lane) -> None:
    """A cut that is meant once is over with the next watch but one."""
    lane.obey(Rule(target=WATCHES, drop=True, times=1))
    with pytest.raises(requests.ConnectionError):
        list(numbers(lane))
    assert list(numbers(lane)) == list(range(EVENTS))


@pytest.mark.parametrize("end", [False, True], ids=["goes on", "ends"])
def test_a_watch_says_what_it_is_told_to(lane: Lane, end: bool) -> None:
    """A line of the rule's comes once, in between; with `end` the watch is over then, in good order."""
    lane.obey(Rule(target=WATCHES, say="777\n", end=end))
    told = list(numbers(lane))
    assert told.count(777) == 1
    told.remove(777)
    assert told == list(range(len(told)))
    assert (len(told) == EVENTS) is not end


def test_a_hushed_watch_never_speaks_again(lane: Lane) -> None:
    """What it would have said is lost, so that nothing of it may follow; one that begins later says everything."""
    told = []
    with suppress(requests.RequestException), requests.get(f"{lane.api}/p?watch=1", stream=True, timeout=1) as answer:
        for line in answer.iter_lines(chunk_size=None):
            told.append(int(line))
            lane.obey(Rule(target=WATCHES, hush=True))
            time.sleep(2 * _PAUSE)
            lane.obey()
    assert len(told) < EVENTS
    assert list(numbers(lane)) == list(range(EVENTS))


def test_an_answer_may_be_nonsense(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """Text in place of JSON, which claims to be it."""
    lane.obey(Rule(text="<html>"))
    answer = ask(lane, "GET", "/q")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"].split(";")[0]) == (
        200,
        "<html>",
        "application/json",
    )
    assert heard == []


def test_a_listing_may_be_an_old_one(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """The API server itself is asked for how things were at that resourceVersion."""
    lane.obey(Rule(at_version="17"))
    ask(lane, "GET", "/pods?limit=500")
    assert heard == [("GET", "/pods?limit=500&resourceVersion=17&resourceVersionMatch=Exact", "")]


def test_a_watch_is_held_back(lane: Lane) -> None:
    """What a late watch tells does not come through while requests do; nothing of it is lost."""
    lane.obey(Rule(target=WATCHES, late=1000.0))
    told: list[int] = []

    def listen() -> None:
        with suppress(requests.RequestException):
            told.extend(numbers(lane))

    listener = threading.Thread(target=listen)
    listener.start()
    while not lane.journal():
        time.sleep(_PAUSE)
    assert ask(lane, "GET", "/x").status_code == 200
    lane.obey(Rule(target=WATCHES, drop=True))
    listener.join(20)
    assert told == []
    lane.obey(Rule(target=WATCHES, late=0.5))
    assert list(numbers(lane)) == list(range(EVENTS))


def test_an_answer_is_made_up(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """A rule may answer in the upstream's place."""
    lane.obey(Rule(answer={"data": [1]}))
    assert ask(lane, "GET", "/q").json() == {"data": [1]}
    assert heard == []


def test_prometheus_is_asked_about_the_past(lane: Lane, heard: list[tuple[str, str, str]]) -> None:
    """With `as_of` no query reaches beyond that moment; earlier ones keep their time."""
    lane.obey(Rule(as_of=100.0))
    for moment in ("99.5", "100.5"):
        requests.get(f"{lane.prometheus}/api/v1/query?query=up&time={moment}", timeout=20)
    times = [parse_qs(urlsplit(path).query)["time"] for _, path, _ in heard]
    assert times == [["99.500"], ["100.000"]]


def test_an_upstream_that_is_away_gives_no_answer(lane: Lane) -> None:
    """The asker's connection is closed, as it would be without the program."""
    with pytest.raises(requests.ConnectionError):
        requests.get(lane.api.replace("/api/", "/away/", 1) + "/x", timeout=20)
    assert [entry.did for entry in lane.journal()] == ["upstream away"]


def test_writes_are_told_from_the_rest(lane: Lane) -> None:
    """The journal has everything in order; as writes count changes of objects, not reads, events or renewed leases."""
    asked = [
        ("GET", "/api/v1/namespaces/d/pods/a"),
        ("PATCH", "/apis/x/v1/namespaces/d/rollouts/a/status?force=true"),
        ("POST", "/api/v1/namespaces/d/events"),
        ("DELETE", "/api/v1/namespaces/d/pods/a"),
        ("PATCH", "/apis/x/v1/namespaces/d/leases/a"),
    ]
    for method, path in asked:
        ask(lane, method, path)
    assert [(entry.method, entry.target) for entry in lane.journal()] == asked
    assert [entry.kind for entry in lane.writes()] == ["rollouts/status", "pods"]
    assert lane.written(since=0) == {"rollouts/status": 1, "events": 1, "pods": 1}
    assert not lane.written(since=lane.journal()[-1].time)


def test_rules_survive_their_file() -> None:
    """What is written is what is read; a key that no rule has is refused."""
    rules = (Rule(method="GET", target="x", drop=True), Rule(answer={"a": [1]}, skip=2, times=3, late=1.5))
    assert parse(dump(rules)) == rules
    with pytest.raises(TypeError):
        parse('[{"statsu": 500}]')
