"""The scenarios that the tests play: one for each way in which a rollout may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelrollout.core.names import Track
from tests.simulation.scenarios import Scenario, settled

if TYPE_CHECKING:
    from tests.simulation.scenarios import Do, When
    from tests.simulation.world import World

_FIRST = (101, "Promoted", "Initialized")
_REJECTED = (102, "RolledBack", "AnalysisFailed")
_PROMOTED = (102, "Promoted", "Promoted")
_ALERTED = (102, "RolledBack", "AlertFiring")
_ALERTS = {"alerts": [{"matchLabels": {"severity": "page"}}]}
_ROLL = {"promotion": {"method": "Roll"}}
_KEEP = {"rollback": {"retainCanaryFor": "10m"}}


def at(stage: str, weight: int | None = None) -> When:
    """The rollout is in this stage, and the route at this weight."""
    return lambda world: world.stage == stage and weight in {None, world.weight}


def edit(version: int) -> Do:
    """Ask for a version."""
    return lambda world: world.edit(version)


def turn_bad(version: int) -> Do:
    """From now on it fails every second request."""
    return lambda world: world.traffic.bad.add(version)


def bad_from_start(world: World) -> None:
    """102, which fails every second request."""
    world.traffic.bad.add(102)
    world.edit(102)


def request(verb: str) -> Do:
    """Ask for something about the revision under way, or about the one that was rejected last."""

    def ask(world: World) -> None:
        status = world.status
        rollout, last = status.get("rollout"), status["history"][0]
        revision = status["canary"]["revision"] if rollout else last["revision"]
        attempt, step = (rollout["attempt"], rollout["step"]) if rollout else (last["attempt"], 0)
        world.request(f"{verb}:{revision}.{attempt}:{step}")

    return ask


def undo(to: int) -> Do:
    """Ask to go back from what serves to a version that was promoted before."""

    def ask(world: World) -> None:
        serving, history = world.status["stable"]["revision"], world.status["history"]
        target = next(entry["revision"] for entry in history if entry["version"] == to)
        world.request(f"undo:{serving}.{history[0]['attempt']}:0:{target}")

    return ask


def undo_last(world: World) -> None:
    """Ask to go back from what serves, wherever that leads."""
    world.request(f"undo:{world.status['stable']['revision']}.{world.status['history'][0]['attempt']}:0")


def passed(seconds: float, since: When) -> When:
    """So long after the first moment when something was so."""
    begun: list[float] = []

    def now(world: World) -> bool:
        # A fork goes back in time: what was noted later than its present belongs to another future.
        begun[:] = [moment for moment in begun if moment <= world.seconds]
        if not begun and since(world):
            begun.append(world.seconds)
        return bool(begun) and world.seconds - begun[0] >= seconds

    return now


def paused(world: World) -> bool:
    """The operator has taken in that somebody holds the rollout."""
    return any(item["type"] == "Paused" and item["status"] == "True" for item in world.status["conditions"])


def gate(step: int) -> When:
    """This step waits for approval."""
    return lambda world: "waitingSince" in world.status.get("rollout", {}) and world.status["rollout"]["step"] == step


def hold(world: World) -> None:
    """Somebody sets spec.paused."""
    world.pause(True)


def let_go(world: World) -> None:
    """Somebody takes spec.paused away."""
    world.pause(False)


def page(world: World) -> None:
    """An alert fires that analysis.alerts names."""
    world.traffic.firing = ({"alertname": "FewerClicks", "namespace": "default", "severity": "page"},)


def turn_bad_late(world: World) -> None:
    """102 turns bad when a container that restarts would come up with it."""
    world.fetch()
    world.traffic.bad.add(102)


def retry_mended(world: World) -> None:
    """The model was mended, and somebody asks to try it again."""
    world.traffic.bad.clear()
    request("retry")(world)


def unloadable(world: World) -> None:
    """The directory is damaged after the canary has loaded it."""
    world.disk.broken.add(102)


def another_image(world: World) -> None:
    """Version and serving fields change together."""
    world.change("serving", image="tensorflow/serving:2.21")
    world.edit(102)


def elsewhere(world: World) -> None:
    """The base path changes, and nothing else."""
    world.change("model", basePath="/models/other")


def lose_canary(world: World) -> None:
    """Every canary pod goes, as when their node is drained."""
    for _ in world.pods.of(Track.CANARY):
        world.lose(Track.CANARY)


def new_pod_serves(world: World) -> bool:
    """The first pod of a roll is ready."""
    pods = world.pods.of(Track.STABLE)
    return world.stage == "Promoting" and any(pod.made_in and pod.ready for pod in pods)


def kept(world: World) -> bool:
    """A version was rejected, and its canary is still there."""
    return settled(world) and "rejected" in world.status and bool(world.pods.of(Track.CANARY))


_MANUAL = {
    "steps": [
        {"weight": 10, "duration": "2s", "maxDuration": "3s", "approval": "Manual"},
        {"weight": 50, "duration": "2s"},
    ]
}
_NO_FAST_PATH = {"rollback": {"fastPathRevisions": 0}}
_UNDONE = (101, "Promoted", "Undone")

SCENARIOS: dict[str, Scenario] = {
    "good": Scenario(((settled, edit(102)),), 102, (_PROMOTED, _FIRST)),
    "bad": Scenario(((settled, bad_from_start),), 101, (_REJECTED, _FIRST)),
    "bad while promoting": Scenario(((settled, edit(102)), (at("Promoting"), turn_bad(102))), 101, (_REJECTED, _FIRST)),
    "bad while baking": Scenario(((settled, edit(102)), (at("Baking"), turn_bad_late)), 101, (_REJECTED, _FIRST)),
    "superseded": Scenario(
        ((settled, edit(102)), (at("Progressing"), edit(103))),
        103,
        ((103, "Promoted", "Promoted"), (102, "Superseded", "NewRevision"), _FIRST),
    ),
    "superseded while promoting": Scenario(
        ((settled, edit(102)), (at("Promoting"), edit(103))),
        103,
        ((103, "Promoted", "Promoted"), (102, "Superseded", "NewRevision"), _FIRST),
    ),
    "cancelled": Scenario(
        ((settled, edit(102)), (at("Promoting"), edit(101))), 101, ((102, "Cancelled", "SpecReturned"), _FIRST)
    ),
    "lower": Scenario(((settled, edit(100)),), 100, ((100, "Promoted", "Promoted"), _FIRST)),
    "lower and bad": Scenario(
        ((settled, edit(100)), (at("Promoting"), turn_bad(100))), 101, ((100, "RolledBack", "AnalysisFailed"), _FIRST)
    ),
    "rolled": Scenario(((settled, edit(102)),), 102, (_PROMOTED, _FIRST), strategy=_ROLL),
    "rolled and bad": Scenario(
        ((settled, edit(102)), (new_pod_serves, turn_bad(102))), 101, (_REJECTED, _FIRST), strategy=_ROLL
    ),
    "other image": Scenario(((settled, another_image),), 102, (_PROMOTED, _FIRST)),
    "other base path": Scenario(((settled, elsewhere),), 101, ((101, "Promoted", "Promoted"), _FIRST)),
    "undone": Scenario(((settled, edit(101)),), 101, ((101, "Promoted", "Undone"), _PROMOTED, _FIRST), (edit(102),)),
    "abort asked for": Scenario(
        ((settled, edit(102)), (at("Progressing", 50), request("abort"))),
        101,
        ((102, "RolledBack", "AbortRequested"), _FIRST),
    ),
    "abort asked for while promoting": Scenario(
        ((settled, edit(102)), (at("Promoting"), request("abort"))),
        101,
        ((102, "RolledBack", "AbortRequested"), _FIRST),
    ),
    "alert": Scenario(((settled, edit(102)), (at("Progressing", 50), page)), 101, (_ALERTED, _FIRST), analysis=_ALERTS),
    "alert while promoting": Scenario(
        ((settled, edit(102)), (at("Promoting"), page)), 101, (_ALERTED, _FIRST), analysis=_ALERTS
    ),
    "alert while baking": Scenario(
        ((settled, edit(102)), (at("Baking"), page)), 101, (_ALERTED, _FIRST), analysis=_ALERTS
    ),
    "retried": Scenario(((settled, retry_mended),), 102, (_PROMOTED, _REJECTED, _FIRST), (bad_from_start,)),
    "another while a canary is kept": Scenario(
        ((settled, bad_from_start), (kept, edit(103))),
        103,
        ((103, "Promoted", "Promoted"), _REJECTED, _FIRST),
        strategy=_KEEP,
    ),
    "retried while its canary is kept": Scenario(
        ((settled, bad_from_start), (kept, retry_mended)), 102, (_PROMOTED, _REJECTED, _FIRST), strategy=_KEEP
    ),
    "canary pods lost": Scenario(
        ((settled, edit(102)), (at("Progressing", 50), lose_canary)),
        102,
        (_PROMOTED, _FIRST),
    ),
    "load fails in a stable pod": Scenario(
        ((settled, edit(102)), (at("Promoting"), unloadable)), 101, ((102, "RolledBack", "PromotionLoadFailed"), _FIRST)
    ),
    "paused in a step": Scenario(
        ((settled, edit(102)), (at("Progressing", 10), request("pause")), (passed(8, paused), request("resume"))),
        102,
        (_PROMOTED, _FIRST),
    ),
    "held by spec while promoting": Scenario(
        ((settled, edit(102)), (at("Promoting"), hold), (passed(8, paused), let_go)), 102, (_PROMOTED, _FIRST)
    ),
    "held by spec in a roll": Scenario(
        ((settled, edit(102)), (new_pod_serves, hold), (passed(8, paused), let_go)),
        102,
        (_PROMOTED, _FIRST),
        strategy=_ROLL,
    ),
    "bad while paused": Scenario(
        ((settled, edit(102)), (at("Progressing", 50), request("pause")), (paused, turn_bad(102))),
        101,
        (_REJECTED, _FIRST),
    ),
    "approved": Scenario(
        ((settled, edit(102)), (passed(6, gate(1)), request("promote"))), 102, (_PROMOTED, _FIRST), strategy=_MANUAL
    ),
    "bad at the gate": Scenario(
        ((settled, edit(102)), (gate(1), turn_bad(102))), 101, (_REJECTED, _FIRST), strategy=_MANUAL
    ),
    "skipped": Scenario(
        (
            (settled, edit(102)),
            (at("Progressing", 10), request("skip")),
            (at("Progressing", 50), request("skip")),
        ),
        102,
        (_PROMOTED, _FIRST),
    ),
    "promoted in full": Scenario(
        ((settled, edit(102)), (at("Progressing", 10), request("promote-full"))), 102, (_PROMOTED, _FIRST)
    ),
    "promoted in full from the start": Scenario(
        ((settled, edit(102)), (at("Preparing"), request("promote-full"))), 102, (_PROMOTED, _FIRST)
    ),
    "undone on request": Scenario(((settled, undo_last),), 101, (_UNDONE, _PROMOTED, _FIRST), (edit(102),)),
    "undone by steps": Scenario(
        ((settled, undo(101)),), 101, (_UNDONE, _PROMOTED, _FIRST), (edit(102),), strategy=_NO_FAST_PATH
    ),
    "undone while baking": Scenario(
        ((settled, edit(102)), (at("Baking"), request("undo"))), 101, ((102, "RolledBack", "Undone"), _FIRST)
    ),
    "undone and bad": Scenario(
        ((settled, undo(101)), (at("Progressing", 50), turn_bad(101))),
        102,
        ((101, "RolledBack", "AnalysisFailed"), _PROMOTED, _FIRST),
        (edit(102),),
        strategy=_NO_FAST_PATH,
    ),
    "undone, then spec agrees": Scenario(
        ((settled, undo(101)), (at("Promoting"), edit(101))), 101, (_UNDONE, _PROMOTED, _FIRST), (edit(102),)
    ),
}
