"""What tests of decide() share: situations that several of them start from, and what a decision comes down to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modelrollout.core.actions import Apply
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.route import canary_weight
from modelrollout.core.status import End, Outcome, Stage
from tests.builders import (
    NEW,
    NOW,
    OLD,
    WITH_CANARY,
    analysed,
    progressing,
    report,
    rollout,
    route,
    snapshot,
    stable_pods,
)

if TYPE_CHECKING:
    from modelrollout.core.actions import Decision
    from modelrollout.core.snapshot import Pod, Snapshot
    from modelrollout.core.status import Rollout

BOTH = report(OLD, NEW, stable=NEW)
CANCELLED = End(Outcome.CANCELLED, "SpecReturned", "spec went back")
HALF = (*stable_pods(BOTH, report(OLD, stable=OLD)), WITH_CANARY[2])
BAKING = stable_pods(BOTH, BOTH)


def quiet_server(pod: Pod, since: timedelta, words: str = "UNAVAILABLE: refused") -> Pod:
    """The pod with a model server that has not answered for so long."""
    return replace(pod, server=replace(pod.server, report=None, error=words, silent_since=NOW - since))


def climbing(*canary: Pod, step: int = 1, **fields: Any) -> Snapshot:
    """In a step with these canary pods, which one pod carried when its weight became live."""
    return replace(
        progressing(Verdict.PASS, timedelta(seconds=20), step=step, **fields), pods=(*WITH_CANARY[:2], *canary)
    )


def in_phase(stage: Stage, spec: dict[str, Any], step: int = 0) -> Snapshot:
    """A rollout of 102 in this stage, and another wish in spec."""
    pods = {Stage.PROMOTING: HALF, Stage.BAKING: BAKING}.get(stage, WITH_CANARY)
    end = CANCELLED if stage is Stage.ROLLING_BACK else None
    under_way = rollout(stage, step=step, end=end)
    weight = {Stage.PROGRESSING: (10, 50)[step - 1], Stage.PROMOTING: 50}.get(stage, 0)
    return snapshot(under_way, spec=spec, pods=pods, route=route(weight), analysed=analysed(under_way, Verdict.PASS))


def decided(given: Snapshot) -> Rollout:
    """The rollout after the pass; it must not be over."""
    after = decide(given).status.rollout
    assert after is not None
    return after


def weight_first(decision: Decision) -> int | None:
    """The weight that is written before all else, None when there is no such write."""
    routes = [a for a in decision.first if isinstance(a, Apply)]
    return canary_weight("recsys", routes[0].manifest) if routes else None
