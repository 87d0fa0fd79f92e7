"""A playground to measure in, with the observer at work, seen from the host. Used by every benchmark."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.environment import write_seconds
from benchmarks.notes import Lines
from benchmarks.timeline import Abort, Event, Scrape
from playground import box, lifecycle
from playground.box import API_ADDRESS
from playground.components import OPERATOR
from playground.kube import Kube
from playground.scene import Scene, Traffic
from playground.state import State, tail
from playground.supervisor import environment
from playground.toolchain.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RELAY = f"{API_ADDRESS}:9191"
"""Where the operator finds Prometheus: the observer, which passes its queries on."""
_PATIENCE = 120.0
_END_SECONDS = 20.0
_REQUESTS = ":tensorflow:serving:request_count"
_GOOD = ":tensorflow:serving:request_latency_count"


class NeverError(Exception):
    """What was waited for did not come about."""


def _logged(line: dict[str, Any]) -> dict[str, Any] | None:
    """A line of the operator's log; libraries below it write some without a time."""
    at = line.get("timestamp")
    return {**line, "timestamp": datetime.fromisoformat(at).timestamp()} if at else None


@dataclass(frozen=True)
class Lab:
    """A playground that is up, and the observer's notes."""

    state: State
    folder: Path

    @cached_property
    def kube(self) -> Kube:
        """The API server."""
        return Kube.connect(self.state.host_kubeconfig)

    @property
    def events_file(self) -> Path:
        """The observer's notes."""
        return self.folder / "events.ndjson"

    @property
    def gone(self) -> Path:
        """The file that makes Prometheus go after a verdict."""
        return self.folder / "prometheus-goes"

    @cached_property
    def _events(self) -> Lines[Event]:
        return Lines(self.events_file, Event.of)

    @cached_property
    def _log(self) -> Lines[dict[str, Any]]:
        return Lines(self.state.log(OPERATOR), _logged)

    def events(self, since: float = 0) -> list[Event]:
        """The notes from a moment on."""
        return [event for event in self._events.all() if event.at >= since]

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
        """Poll until the condition holds; returns what it gave. Raises NeverError."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise NeverError(f"{what}: not within {seconds:g} s")
            time.sleep(0.05)
        return found

    def log(self, since: float) -> list[dict[str, Any]]:
        """The operator's log lines from a moment on, their `timestamp` as seconds since the epoch."""
        return [line for line in self._log.all() if line["timestamp"] >= since]

    def seen(self, name: str, since: float, **facts: Any) -> float:
        """When the status of a rollout first showed these facts. Raises NeverError."""
        for event in self.events(since):
            if (event.what, event.name) == ("status", name) and facts.items() <= event.facts.items():
                return event.at
        raise NeverError(f"{name}: {facts} was never seen")

    def route_writes(self, name: str, since: float) -> list[float]:
        """When the operator sent this rollout's route."""
        wanted = {"event": "apply", "kind": "HTTPRoute", "name": name}
        return [line["timestamp"] for line in self.log(since) if wanted.items() <= line.items()]

    def scrapes(self, rollout: str, seconds: int) -> list[Scrape]:
        """What Prometheus read of the canary's pods in the last seconds, with the times of the scrapes."""
        selector = f'model_name="{rollout}",pod=~"{rollout}-canary-.*"'
        bad = self._samples(f'{_REQUESTS}{{{selector},status!="OK"}}[{seconds}s]')
        good = self._samples(f'{_GOOD}{{{selector},API!=""}}[{seconds}s]')
        keys = sorted(bad.keys() | good.keys())
        return [Scrape(*key, bad.get(key, 0.0), bad.get(key, 0.0) + good.get(key, 0.0)) for key in keys]

    def _samples(self, query: str) -> dict[tuple[float, str], float]:
        """Raw samples by time and pod, summed over the series of a pod."""
        url = f"{self.state.read_info()['prometheus']}/api/v1/query"
        answer = requests.get(url, params={"query": query}, timeout=10).json()
        sums: dict[tuple[float, str], float] = {}
        for item in answer["data"]["result"]:
            for at, value in item["values"]:
                key = (float(at), item["metric"]["pod"])
                sums[key] = sums.get(key, 0.0) + float(value)
        return sums

    def inside(self, *words: str) -> str:
        """Run benchmarks.inside in the box; returns what it prints."""
        argv = box.enter(self.state, [sys.executable, "-m", "benchmarks.inside", *words])
        done = subprocess.run(argv, env=self._env(), capture_output=True, text=True, check=True)
        return done.stdout

    @contextmanager
    def process(self, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Python program in the box for as long as the block lasts; SIGTERM ends it."""
        command = box.enter(self.state, [sys.executable, *argv])
        with self._programs.open("ab") as log:
            process = subprocess.Popen(command, env=self._env(), stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            yield process
        finally:
            self._end(process)

    def wait_for_start(self, process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
        """Poll until a program of ours is at work. Raises NeverError, with its last words if it has ended."""

        def at_work() -> bool:
            if process.poll() is not None:
                raise NeverError(f"a program of the benchmark has ended:\n{tail(self._programs)}")
            return condition()

        self.wait_for("the start of a program of the benchmark", at_work)

    @property
    def _programs(self) -> Path:
        return self.folder / "programs.log"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the program and the nsenter that holds it: the signal goes to the program, its child."""
        assert process.stdin is not None
        process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended by itself
                for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                    os.kill(int(child), number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
                return
        process.kill()
        process.wait()

    def _env(self) -> dict[str, str]:
        return environment(self.state, lifecycle.binaries())

    @cached_property
    def write_seconds(self) -> float:
        """What one small write costs here: the yardstick for machines that differ."""
        return write_seconds(self.kube)

    def aborted(self, name: str, flipped: float) -> Abort:
        """What is known of the abort of a rollout since its version went bad."""
        of_canary = f"{name}-canary-"  # as its queries name its pods
        events = [e for e in self.events(flipped) if e.name == name or (e.what == "answer" and of_canary in e.name)]
        decided = self._decided(name, flipped)
        return Abort(flipped, events, self.route_writes(name, flipped), self.scrapes(name, 60), decided)

    def in_writes(self, seen: Abort) -> dict[str, float]:
        """The operator's part of an abort as a multiple of what one write costs here."""
        return {"answeredToZeroInWrites": round((seen.weight_zero - seen.query_answered) / self.write_seconds, 2)}

    def _decided(self, name: str, since: float) -> float | None:
        """When the operator had the measurements by which it ended a rollout."""
        for line in self.log(since):
            if line.get("event") == "decision" and line["rollout"].endswith(f"/{name}") and line["end"]:
                return datetime.fromisoformat(line["measured"]).timestamp() if line["measured"] else None
        return None


@contextmanager
def lab(directory: Path | None) -> Iterator[Lab]:
    """A playground of its own for the block, or the one in `directory`, which stays up; observed either way."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        state = State((directory or Path(scratch, "playground")).resolve())
        say("bringing a playground up" if directory is None else f"using {state.dir}")
        lifecycle.up(state, operator=True)
        found = Lab(state, Path(scratch))
        try:
            with _observed(found):
                yield found
        finally:
            if directory is None:
                lifecycle.down(state)


@contextmanager
def _observed(found: Lab) -> Iterator[None]:
    words = (
        "-m", "benchmarks.observer", "--listen", RELAY, "--prometheus", f"http://{API_ADDRESS}:9090",
        "--gone", str(found.gone), "--events", str(found.events_file),
    )  # fmt: skip
    with found.process(*words) as observer:
        found.wait_for_start(observer, lambda: any(event.what == "ready" for event in found.events()))
        yield


@contextmanager
def rollout(found: Lab, name: str) -> Iterator[Scene]:
    """A scene whose rollout is not there before and after the block."""
    scene = Scene(found.state, name)
    _clear(found, scene)
    scene.models.mkdir(parents=True, exist_ok=True)
    scene.misbehave({})
    try:
        yield scene
    finally:
        _clear(found, scene)
        scene.kube.session.close()


def _clear(found: Lab, scene: Scene) -> None:
    scene.kube.delete("ModelRollout", scene.name)
    found.wait_for("the end of its pods", lambda: not scene.pods("stable") and not scene.pods("canary"))


@contextmanager
def callers(found: Lab, model: str, addresses: Sequence[str], rate: float) -> Iterator[list[Traffic]]:
    """Users who ask each of these model servers by gRPC, past the gateway, so that it shows who answers in which."""
    with contextlib.ExitStack() as stack:
        made = []
        for number, address in enumerate(addresses):
            records = found.folder / f"direct-{model}-{number}-{time.monotonic_ns()}.ndjson"
            words = (
                "-m", "playground.load", "--attached", "--model", model, "--grpc", address, "--rate", str(rate),
                "--records", str(records), "--report", "/dev/null",
            )  # fmt: skip
            stack.enter_context(found.process(*words))
            made.append(Traffic(records))
        yield made
