"""`watch`: what is drawn, how often, and what a pipe gets instead."""

from __future__ import annotations

import io
import threading
from datetime import timedelta

import pytest
from rich.console import Console

from modelrollout.cli.commands.watch import REDRAW_SECONDS
from modelrollout.cli.feed import Feed, Want
from modelrollout.cli.views import overview, tree
from modelrollout.cli.views.clock import ahead, done
from modelrollout.cli.views.words import moment
from tests.cli.world import NOW, ROLLOUTS, MemoryCluster, holding, run
from tests.gitops.argo import Object, phase

STEP = "good-progressing-step-1-live"


def _drawn(picture: object, width: int = 100, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def _crowd(count: int) -> list[Object]:
    """One that is under way among many that are quiet."""
    objects = [phase("good-healthy") for _ in range(count - 1)]
    for number, obj in enumerate(objects):
        obj["metadata"]["name"] = f"quiet-{number:03}"
    return [*objects, phase(STEP)]


def test_the_time_left_in_a_step_is_counted_from_when_its_weight_was_live() -> None:
    """Half a second into a step of two seconds, the next decision is a second and a half away."""
    obj = phase(STEP)
    started = moment(obj, "status.rollout.stepStarted")
    assert started is not None
    following = ahead(obj, started + timedelta(seconds=0.5))
    assert following is not None
    assert (following.what, following.left) == ("step 2 of 2, 50%", timedelta(seconds=1.5))


def test_no_clock_runs_while_somebody_holds_it() -> None:
    """What is held goes on when somebody says so, not at a time."""
    obj = phase("good-progressing-step-1-live")
    next(item for item in obj["status"]["conditions"] if item["type"] == "Paused")["status"] = "True"
    obj["status"]["nextDecision"] = "when promote is asked for"
    following = ahead(obj, NOW)
    assert following is not None
    assert (following.what, following.left) == ("when promote is asked for", None)


def test_no_clock_runs_before_the_weight_is_live() -> None:
    """A gateway that is slow costs the step nothing."""
    following = ahead(phase("good-progressing-step-1-set"), NOW)
    assert following is not None
    assert (following.what, following.left) == ("when the weight is live", None)


def test_a_suspicion_is_what_the_step_waits_for() -> None:
    """The weight is back at the first step's; no clock runs until that is settled."""
    obj = phase(STEP)
    obj["status"]["rollout"].update(suspectedBy="latency", suspectedSince="2026-11-21T13:11:03Z")
    following = ahead(obj, NOW)
    assert following is not None
    assert (following.what, following.left) == ("step 1 again, once nothing is suspected", None)


def test_progress_only_rises_through_a_rollout() -> None:
    """Steps and bake are the planned time; loading has none."""
    names = ("good-preparing", STEP, "good-progressing-step-2-live", "good-promoting", "good-baking")
    objects = [phase(name) for name in names]
    shares = [done(obj, moment(obj, "status.rollout.since") or NOW) for obj in objects]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[3] == pytest.approx(4 / 6)
    assert done(objects[-1], NOW + timedelta(hours=1)) == 1.0


def test_what_something_happens_to_comes_first() -> None:
    """Among two hundred quiet rollouts the one under way is on the screen."""
    lines = _drawn(overview.show(_crowd(200), NOW, 120, 20), width=120, height=20)
    assert len(lines) < 20
    assert lines[1].startswith("good ")
    assert lines[-1] == "199 Healthy  1 Progressing  (183 more do not fit)"


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_overview_fits_its_width(width: int) -> None:
    """Messages are cut, and nothing else is."""
    objects = _crowd(5)
    objects[0]["status"]["message"] = "a long reason " * 20
    lines = _drawn(overview.show(objects, NOW, width, 20), width=width)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("NAME       STATUS       STEP  WEIGHT  STABLE  CANARY")
    assert lines[2].startswith("quiet-000  Healthy      ")
    assert lines[2].endswith("…")
    assert len(lines) == 7


def test_notes_are_shown_below_the_tree() -> None:
    """What could not be read is told in the picture, not above it."""
    assert _drawn(tree.show(tree.Sight(phase(STEP), notes=("pods is forbidden",)), NOW))[-1] == "pods is forbidden"


def test_changes_are_taken_in_together() -> None:
    """However many come at once, the picture is drawn once."""
    cluster, want = holding(STEP), Want(ROLLOUTS)
    with Feed(cluster, want) as feed:
        while not feed.objects(want):
            feed.wait(1)
        for _ in range(50):
            cluster.change(phase("good-promoting"))
        cluster.change(phase("good-baking"))
        while next(iter(feed.objects(want).values()))["status"]["phase"] != "Baking":
            feed.wait(1)
        assert not feed.wait(0)
    assert REDRAW_SECONDS >= 0.5


def test_a_rollout_that_is_deleted_leaves_the_picture() -> None:
    """The table shows what there is."""
    cluster, want = holding(STEP, "bad-rolledback"), Want(ROLLOUTS)
    with Feed(cluster, want) as feed:
        while len(feed.objects(want)) < 2:
            feed.wait(1)
        cluster.streams[0][1].put("DELETED", phase(STEP))
        while len(feed.objects(want)) > 1:
            feed.wait(1)
        assert [name for _, name in feed.objects(want)] == ["bad"]


def test_a_watch_that_ends_is_begun_again() -> None:
    """The API server ends watches now and then; what is gone meanwhile is gone from the picture."""
    cluster, want = holding(STEP, "bad-rolledback"), Want(ROLLOUTS)
    with Feed(cluster, want) as feed:
        while len(feed.objects(want)) < 2:
            feed.wait(1)
        cluster.objects[ROLLOUTS].pop()
        cluster.streams[0][1].close()
        while len(feed.objects(want)) != 1 or len(cluster.streams) < 2:
            feed.wait(1)


def test_a_pipe_gets_a_line_per_change() -> None:
    """`watch | tee` and CI logs: what is new, once, without escape sequences, until the object is gone."""
    cluster = holding(STEP)
    threading.Timer(0.3, _play, (cluster,)).start()
    shown = run(cluster, "watch", "good")
    assert shown.stdout.splitlines() == [
        "good: Progressing: version 102 at 20 %, being judged",
        "good: Baking: version 102 serves everything; the version before stays loaded while it bakes",
    ]
    assert (shown.exit_code, shown.stderr) == (3, "Error: good was deleted\n")


def _play(cluster: MemoryCluster) -> None:
    cluster.change(phase("good-baking"))
    threading.Event().wait(1.5)
    cluster.streams[0][1].put("DELETED", phase("good-baking"))


def test_an_api_server_that_is_away_empties_no_picture() -> None:
    """What was seen last stays until there is something newer."""
    cluster, want = holding(STEP), Want(ROLLOUTS, "good")
    with Feed(cluster, want) as feed:
        while not feed.objects(want):
            feed.wait(1)
        cluster.away = True
        cluster.streams[0][1].close()
        while want not in feed.failures:
            feed.wait(1)
        assert len(feed.objects(want)) == 1
        cluster.away = False
        while want in feed.failures:
            feed.wait(1)
        assert len(feed.objects(want)) == 1


def test_a_wrong_name_is_told_at_once() -> None:
    """Nobody watches what does not exist."""
    assert run(holding(STEP), "watch", "god").exit_code == 3
