"""The gateway stands still, or starts anew: nobody's fault, so nothing is rejected for it."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from playground import control
from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    live,
    more_answers,
    outcome,
    quick,
    stage,
    start,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.scene import Scene

_PATIENT = [{"weight": 20, "duration": "60s"}]


@contextmanager
def _frozen_gateway(scene: Scene) -> Iterator[None]:
    """The gateway's controller stands still while its proxy goes on with what it was told last."""
    process = _controller(scene.state.dir)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _controller(directory: Path) -> int:
    """The process id of this playground's Envoy Gateway."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if words[0].endswith("/envoy-gateway") and any(word.startswith(f"{directory}/") for word in words):
            return int(folder.name)
    raise AssertionError("no Envoy Gateway runs")


def test_frozen_gateway_holds_the_step(scene: Callable[[str], Scene]) -> None:
    """A weight that no gateway has taken in is not live: its step's clock starts when the gateway is back."""
    here = scene("gateway-frozen")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("the first step", live(20))
        with _frozen_gateway(here):
            here.wait("a step that waits", lambda s: here.weight() == 50 and "not live: inference" in s["message"])
            more_answers(traffic, 300)
            assert "stepStarted" not in here.status()["rollout"]
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 50, 0]
    assert not failures(traffic.answers())


@pytest.mark.long
def test_frozen_gateway_keeps_the_canary_that_it_still_sends_to(scene: Callable[[str], Scene]) -> None:
    """An abort writes weight 0 at once, and canary pods stay until the gateway sends them nothing any more."""
    here = scene("gateway-frozen-abort")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=_PATIENT))
        here.wait("the step", live(20))
        with _frozen_gateway(here):
            here.kube.apply(quick(here, STABLE))
            here.wait("weight 0", lambda s: here.weight() == 0 and stage("RollingBack")(s))
            late = more_answers(traffic, 300)
            assert here.pods("canary")
        status = here.wait("the end", ended(NEXT))
        here.wait("no canary pods", lambda _: not here.pods("canary"))
        end = more_answers(traffic)
    assert outcome(status, NEXT) == "Cancelled"
    assert NEXT in {answer.version for answer in traffic.answers()[late:]}
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}
    assert not failures(traffic.answers())


@pytest.mark.long
def test_gateway_restart_loses_no_step(scene: Callable[[str], Scene]) -> None:
    """While the gateway is down nobody is answered; once it is up the rollout goes on where it was."""
    here = scene("gateway-restart")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "8s"}, {"weight": 50, "duration": "4s"}]))
        here.wait("the first step", live(20))
        control.ask(here.state, "stop", name="envoy-gateway")
        control.ask(here.state, "start", name="envoy-gateway")
        status = here.wait("the end", ended(NEXT), 150)
    with here.traffic() as later:
        wait_for_answers(later)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 50, 0]
    assert status["history"][0]["attempt"] == 2
    assert not failures(later.answers())
