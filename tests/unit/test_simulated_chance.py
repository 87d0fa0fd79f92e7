"""Users, faults and kills in any order: the rules hold, and left in peace everything comes to rest.

The world checks the safety rules of docs/design.md at every write and in every moment (tests/simulation/rules.py).
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modelrollout.core.names import Track
from modelrollout.core.requests import Verb
from modelrollout.errors import ClusterUnavailable, Conflict
from tests.simulation.operator import SimOperator
from tests.simulation.repertoire import SCENARIOS, request, undo_last
from tests.simulation.scenarios import begin, run_until, settled


class Chance(RuleBasedStateMachine):
    """One ModelRollout, in the hands of chance."""

    @initialize(method=st.sampled_from(["Reload", "Roll"]))
    def begin(self, method: str) -> None:
        """The first version serves."""
        self.world = begin(SCENARIOS["good"]).world
        self.world.change("strategy", promotion={"method": method})
        self.operator = SimOperator(self.world).__enter__()

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.operator.step(seconds)

    # What users do

    @rule(version=st.sampled_from([100, 101, 102, 103, 199]))
    def edit(self, version: int) -> None:
        """Somebody changes the version, also to one that does not exist."""
        self.world.edit(version)

    @rule(image=st.sampled_from(["tensorflow/serving:2.20", "tensorflow/serving:2.21"]))
    def image(self, image: str) -> None:
        """Somebody changes a serving field."""
        self.world.change("serving", image=image)

    @rule(replicas=st.integers(2, 4))
    def scale(self, replicas: int) -> None:
        """Somebody scales."""
        self.world.change("serving", replicas=replicas)

    @rule(verb=st.sampled_from(Verb))
    def ask(self, verb: Verb) -> None:
        """Somebody asks for something, whether it fits or not."""
        request(verb)(self.world)

    @rule()
    def undo(self) -> None:
        """Somebody asks to go back from what serves, whether there is something under way or not."""
        undo_last(self.world)

    @rule(paused=st.booleans())
    def hold(self, paused: bool) -> None:
        """Somebody sets spec.paused, or takes it away."""
        self.world.pause(paused)

    # What models, servers and pods do

    @rule(version=st.sampled_from([100, 102, 103]), bad=st.booleans())
    def turn(self, version: int, bad: bool) -> None:
        """A version turns bad or is well again."""
        (self.world.traffic.bad.add if bad else self.world.traffic.bad.discard)(version)

    @rule(version=st.sampled_from([100, 102, 103]), broken=st.booleans())
    def damage(self, version: int, broken: bool) -> None:
        """A version's files are damaged or mended."""
        (self.world.disk.broken.add if broken else self.world.disk.broken.discard)(version)

    @rule(track=st.sampled_from(Track), which=st.integers(0, 2))
    def crash(self, track: Track, which: int) -> None:
        """A container exits."""
        self.world.crash(track, which)

    @rule(track=st.sampled_from(Track), which=st.integers(0, 2))
    def lose(self, track: Track, which: int) -> None:
        """A pod goes."""
        self.world.lose(track, which)

    @rule(track=st.sampled_from(Track), silent=st.booleans())
    def silence(self, track: Track, silent: bool) -> None:
        """A model server stops answering the operator, or all of them answer again."""
        for pod in self.world.pods.of(track)[: 1 if silent else None]:
            pod.silent = silent

    # What everything else does

    @rule(state=st.sampled_from(["up", "away", "empty"]))
    def prometheus(self, state: str) -> None:
        """Prometheus goes away, forgets everything or comes back."""
        self.world.traffic.prometheus = state

    @rule(delay=st.sampled_from([0.25, 4.0]))
    def gateway(self, delay: float) -> None:
        """The gateway gets slow or quick."""
        self.world.traffic.delay = delay

    @rule(lag=st.sampled_from([0.0, 2.0]))
    def watches(self, lag: float) -> None:
        """Watches get late or prompt."""
        self.world.lag = lag

    @rule(seconds=st.integers(1, 8))
    def api_server(self, seconds: int) -> None:
        """The API server is away for a while."""
        self.world.api.down = True
        self.operator.step(seconds)
        self.world.api.down = False

    @rule(writes=st.integers(1, 6), fate=st.sampled_from(["killed", "no answer", "conflict"]), after=st.booleans())
    def strike(self, writes: int, fate: str, after: bool) -> None:
        """Around one of the next writes the operator is killed, or the write fails."""
        left = [writes]

        def meddle(operator: SimOperator, what: str, done: bool) -> None:
            left[0] -= done is after
            if left[0] > 0 or done is not after:
                return
            operator.meddle = None
            if fate == "killed":
                operator.kill()
            elif not what.startswith("reload"):
                raise ClusterUnavailable("no answer") if fate == "no answer" else Conflict("modified")

        self.operator.meddle = meddle

    @invariant()
    def silence_is_no_proof(self) -> None:
        """Without a declared deadline no silent metric ever takes a version back."""
        if hasattr(self, "world"):
            reasons = {entry["reason"] for entry in self.world.status["history"]}
            assert not reasons & {"AnalysisNoData", "AnalysisError", "AnalysisAmbiguous"}

    def teardown(self) -> None:
        """Left in peace the world settles, and then nothing is written."""
        if not hasattr(self, "operator"):
            return
        try:
            self._leave_in_peace()
            run_until(self.operator, settled, seconds=600)
            self.operator.step(90)
            writes = len(self.operator.writes)
            self.operator.wake()
            self.operator.step(40)
            assert not self.operator.writes[writes:]
        finally:
            self.operator.__exit__()

    def _leave_in_peace(self) -> None:
        self.operator.meddle, self.world.lag = None, 0.0
        self.world.traffic.prometheus, self.world.traffic.delay = "up", 0.25
        self.world.disk.broken.clear()
        for pod in self.world.pods.all.values():
            pod.silent = False
        self.world.pause(False)
        request(Verb.RESUME)(self.world)
        if self.world.spec["model"]["version"] == 199:
            self.world.edit(101)


def play(examples: int) -> None:
    """So many sequences, the same in every run."""
    quick = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Chance, settings=quick)


def test_rules_hold_whatever_happens() -> None:
    """A few sequences of edits, requests, faults and kills: every rule holds, and all of them come to rest."""
    play(10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_rules_hold_whatever_happens_for_long() -> None:
    """Many such sequences."""
    play(300)
