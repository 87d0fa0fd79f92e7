"""What the benchmarks make of their notes: the parts of them that touch nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import figures
from benchmarks.command import Budget
from benchmarks.figures import Figure
from benchmarks.notes import Lines
from benchmarks.stub_server import StubServer, turn_bad
from benchmarks.timeline import (
    Abort,
    Event,
    IncompleteError,
    Limits,
    Promotion,
    Scrape,
    abort_figures,
    first_over_limits,
    last_answer,
    out_of_turn,
    percentile,
    spans,
)
from playground.load import Answer

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits(share=0.01, window=2.0, requests=10)


def answer(end: float, version: int | None = 101, error: str = "", start: float | None = None) -> Answer:
    """One answer; without a start it took 10 ms."""
    return Answer(end - 0.01 if start is None else start, end, "grpc", "user-1", version, error)


def event(at: float, what: str, **facts: Any) -> Event:
    """One note about the rollout."""
    return Event(at, what, "recsys", facts)


ABORT = Abort(
    flipped=10.0,
    events=(
        event(9.5, "answer"),
        event(11.2, "answer"),
        event(11.25, "answer"),
        event(11.3, "weight", weight=0),
        event(11.4, "answer"),
    ),
    writes=(8.0, 11.27),
    scrapes=(Scrape(9.0, "a", 0, 100), Scrape(10.0, "a", 0, 150), Scrape(11.0, "a", 30, 200)),
    measured=11.26,
)
BAD = [answer(10.1, 102, "INTERNAL"), answer(10.2), answer(11.35, None, "HTTP 500")]


def test_abort_is_told_from_the_first_bad_answer() -> None:
    """Milestones count from the first bad answer; the answer that led to the write is the last one before it."""
    found = abort_figures(ABORT, BAD, LIMITS)
    assert found["firstBadScrape"] == pytest.approx(0.9)
    assert found["queryAnswered"] == pytest.approx(1.15)
    assert found["writeSent"] == pytest.approx(1.17)
    assert found["weightZero"] == pytest.approx(1.2)
    assert found["lastBadAnswer"] == pytest.approx(1.25)
    assert found["badAnswers"] == 2


def test_spans_with_goals() -> None:
    """The operator's own part ends with weight 0 in the API, the users' part with their last bad answer."""
    found = abort_figures(ABORT, BAD, LIMITS)
    assert found["answeredToZero"] == pytest.approx(0.05)
    assert found["measuredToZero"] == pytest.approx(0.04)
    assert found["scrapeToLastBad"] == pytest.approx(0.35)
    assert found["flipToZero"] == pytest.approx(1.3)


def test_a_later_round_is_not_the_one_that_was_decided_on() -> None:
    """When the operator names measurements that came in after its write, that figure is left out."""
    later = Abort(ABORT.flipped, ABORT.events, ABORT.writes, ABORT.scrapes, measured=11.29)
    assert spans(later)["measuredToZero"] is None


@pytest.mark.parametrize(
    ("abort", "answers", "missing"),
    [
        (Abort(10.0, (), (11.0,), ABORT.scrapes), BAD, "weight 0"),
        (Abort(10.0, ABORT.events, (), ABORT.scrapes), BAD, "write of weight 0"),
        (Abort(10.0, ABORT.events, ABORT.writes, ()), BAD, "no scrape"),
        (ABORT, [answer(10.2)], "no bad answer"),
    ],
)
def test_a_run_that_shows_no_abort_says_what_is_missing(abort: Abort, answers: list[Answer], missing: str) -> None:
    """No figure is made up for what was not seen."""
    with pytest.raises(IncompleteError, match=missing):
        abort_figures(abort, answers, LIMITS)


def test_limits_are_broken_within_the_window_alone() -> None:
    """Bad answers that are older than the window do not count, and too few answers break nothing."""
    old = [Scrape(float(at), "a", 5, 160) for at in range(-2, 4)]
    few = [Scrape(4.0, "a", 8, 163)]
    enough = [Scrape(5.0, "a", 9, 200)]
    assert first_over_limits([*old, *few, *enough], LIMITS, 1.0) == 5.0
    with pytest.raises(IncompleteError):
        first_over_limits([*old, *few], LIMITS, 1.0)


def test_limits_look_at_all_pods_together() -> None:
    """A pod that was scraped a little earlier counts with what was read of it then."""
    scrapes = [
        *(Scrape(at, "a", bad, answers) for at, bad, answers in ((0.0, 0, 0), (2.0, 0, 6), (3.0, 0, 8))),
        *(Scrape(at, "b", bad, answers) for at, bad, answers in ((0.5, 0, 0), (2.5, 2, 6))),
    ]
    assert first_over_limits(scrapes, LIMITS, 1.0) == 2.5


PROMOTION = Promotion(old=101, new=102, weight_sent=10.0, promoted=20.0)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (answer(9.0, 101), False),
        (answer(9.0, 102), True),
        (answer(10.5, 102), False),
        (answer(20.5, 101, start=19.9), False),
        (answer(20.5, 101, start=20.1), True),
        (answer(25.0, 102), False),
        (answer(15.0, 103), True),
        (answer(9.0, None, "UNAVAILABLE"), False),
    ],
)
def test_versions_answer_in_their_turn(given: Answer, wrong: bool) -> None:
    """The new one not before its first weight, the old one to nobody who asks after the promotion, no other ever."""
    assert bool(out_of_turn(PROMOTION, [given])) == wrong


def test_last_answer_of_a_version_left() -> None:
    """Counted from the request; None when the version gave no answer after it."""
    answers = [answer(9.0, 102), answer(11.5, 102), answer(12.0, 101)]
    assert last_answer(answers, 102, 10.0) == 1.5
    assert last_answer(answers, 103, 10.0) is None


def test_percentile() -> None:
    """Nearest rank from above, None of nothing."""
    assert percentile(range(1, 101), 0.99) == 100
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None


RUNS: list[figures.Run] = [
    {"variant": "plain", "span": 0.02, "requests": 800, "failed": 0},
    {"variant": "plain", "span": 0.04, "requests": 700, "failed": 1},
    {"variant": "plain", "span": 0.3, "requests": 500, "failed": 0},
    {"variant": "other", "problem": "nothing happened"},
    {"variant": "other", "span": 0.01},
]


def test_a_table_says_what_missed_its_goal() -> None:
    """Median and worst of each variant beside the goals; totals for what is counted; broken runs are not hidden."""
    lines = figures.table(
        RUNS,
        [
            Figure("span", "operator's part", "ms", 1000, median_goal=50, worst_goal=100),
            Figure("requests", "requests", total=True),
            Figure("failed", "failed", total=True, worst_goal=0),
            Figure("never", "never measured"),
        ],
    )
    assert lines == [
        "| median / worst | goal | plain, 3 runs | other, 1 of 2 runs |",
        "| --- | --- | --- | --- |",
        "| operator's part | 50 / 100 ms | 40 / **300 (missed)** | 10 / 10 |",
        "| requests | | 2,000 | |",
        "| failed | 0 | **1 (missed)** | |",
    ]


def test_a_variant_is_measured_anew_alone() -> None:
    """Runs of the others are kept, and what those were measured on."""
    environments = {"plain": {"cores": 2}, "other": {"cores": 8}}
    left = figures.without({"benchmark": "abort", "environments": environments, "runs": RUNS}, "plain")
    assert {run["variant"] for run in left["runs"]} == {"other"}
    assert left["environments"] == {"other": {"cores": 8}}


def test_a_table_goes_between_its_markers() -> None:
    """What people wrote around it stays, also when it is written twice."""
    page = "# Title\n\n<!-- abort: written by the benchmark -->\nold\n<!-- end of abort -->\n\nBelow.\n"
    once = figures.between(page, "abort", ["new"])
    assert once == figures.between(once, "abort", ["new"])
    assert once.startswith("# Title\n\n<!-- abort")
    assert once.endswith("<!-- end of abort -->\n\nBelow.\n")
    assert "\nnew\n" in once
    assert "old" not in once


def test_a_page_without_markers_is_not_written() -> None:
    """Better no table than one in the wrong place."""
    with pytest.raises(ValueError, match="promote"):
        figures.between("# Title\n", "promote", ["new"])


def test_the_environment_is_said_once() -> None:
    """Cores and versions, of every machine that runs came from, and how busy it was."""
    one = {"cores": 2, "load": 0.4, "versions": {"Python": "3.11.7"}}
    other = {"cores": 8, "load": 3.0, "versions": {"Python": "3.11.7"}}
    assert figures.environment_line([one, one, other]) == (
        "Measured on: 2 cores, Python 3.11.7; 8 cores, Python 3.11.7. Load when the commands began: 3 at most."
    )


def test_a_budget_begins_no_run_when_time_is_over() -> None:
    """The number that was asked for wins over the variant's own; the time over both."""
    assert list(Budget(None, minutes=10).runs(3)) == [1, 2, 3]
    assert list(Budget(2, minutes=10).runs(3)) == [1, 2]
    assert list(Budget(None, minutes=-1).runs(3)) == []


def test_lines_are_read_as_they_grow(tmp_path: Path) -> None:
    """A line is there once it is whole; what is no JSON object, or nothing to the reader, is passed over."""
    lines = Lines(tmp_path / "notes", lambda line: line.get("n"))
    assert lines.all() == []
    lines.file.write_text('{"n": 1}\nTraceback\n[2]\n{}\n{"n": ')
    assert lines.all() == [1]
    with lines.file.open("a") as file:
        file.write("3}\n")
    assert lines.all() == [1, 3]


def test_stub_server_serves_what_it_was_told(tmp_path: Path) -> None:
    """A configuration is in force at once; what it left out has ended; labels name versions."""
    server = StubServer(canary=False, bad=tmp_path / "bad")
    text = """model_config_list {{ config {{ name: "recsys" version_labels {{ key: "stable" value: {0} }}
        model_version_policy {{ specific {{ versions: {0} }} }} }} }}"""
    server.configure_text(text.format(101))
    server.configure_text(text.format(102))
    states = {item.version: item.state for item in server.status().model_version_status}
    assert states == {101: 50, 102: 30}
    assert server.labels == {"stable": 102}
    assert 'model_name="recsys"' in server.page()


def test_stub_canaries_go_bad_from_the_moment_in_the_file(tmp_path: Path) -> None:
    """The moment counts, not when the file is read: all go bad in one."""
    bad = tmp_path / "bad"
    servers = [StubServer(canary, bad, "recsys", since=0.0) for canary in (True, False)]
    assert all('status="INTERNAL"} 0' in server.page() for server in servers)
    turn_bad(bad, 1000.0, "another")
    assert all('status="INTERNAL"} 0' in server.page() for server in servers)
    turn_bad(bad, 1000.0, "recsys")
    assert ['status="INTERNAL"} 0' in server.page() for server in servers] == [False, True]
    turn_bad(bad, 1e12)  # of all others, in a future that does not come
    servers.append(StubServer(canary=True, bad=bad, name="third", since=0.0))
    assert ['status="INTERNAL"} 0' in server.page() for server in servers] == [False, True, True]
