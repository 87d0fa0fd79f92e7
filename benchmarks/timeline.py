"""What a run's notes say, as figures. Pure: events, answers and scrapes in, numbers out.

All times are seconds since the epoch on the one clock of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from playground.load.records import Answer

_FAULTY = {"INTERNAL", "HTTP 500"}
"""How the benchmark's fault shows over gRPC and REST; a paused pod's timeouts are not the version's errors."""


class IncompleteError(Exception):
    """A run did not show what it is about; the message says what is missing."""


@dataclass(frozen=True)
class Event:
    """One note of the observer or the stand-in pods: `what` happened to `name` at this moment."""

    at: float
    what: str
    name: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Event:
        """From one line of the file."""
        facts = {key: value for key, value in raw.items() if key not in {"at", "what", "name"}}
        return cls(raw["at"], raw["what"], raw["name"], facts)


@dataclass(frozen=True)
class Scrape:
    """A pod's counters as Prometheus read them, with Prometheus' own time for it."""

    at: float
    pod: str
    bad: float
    answers: float


@dataclass(frozen=True)
class Limits:
    """When a version counts as bad: this share of bad answers within the window, of at least so many answers."""

    share: float
    window: float
    requests: int


def bad_answers(answers: Iterable[Answer], since: float) -> list[Answer]:
    """Answers that the fault spoilt, by the time of their end."""
    return sorted((a for a in answers if a.error in _FAULTY and a.end >= since), key=lambda a: a.end)


def first_over_limits(scrapes: Sequence[Scrape], limits: Limits, since: float) -> float:
    """The first scrape after which the limits were broken. Raises IncompleteError when none was."""
    pods = {scrape.pod for scrape in scrapes}
    for moment in sorted(scrape.at for scrape in scrapes if scrape.at >= since):
        now, before = (_sums(scrapes, pods, at) for at in (moment, moment - limits.window))
        bad, answers = now[0] - before[0], now[1] - before[1]
        if answers >= limits.requests and bad > limits.share * answers:
            return moment
    raise IncompleteError("no scrape broke the limits")


def _sums(scrapes: Sequence[Scrape], pods: set[str], at: float) -> tuple[float, float]:
    """Counters of all pods as an instant query would give them: each pod's last scrape at or before the moment."""
    last: dict[str, Scrape] = {}
    for scrape in sorted(scrapes, key=lambda s: s.at):
        if scrape.pod in pods and scrape.at <= at:
            last[scrape.pod] = scrape
    return sum(s.bad for s in last.values()), sum(s.answers for s in last.values())


def zeros(events: Iterable[Event]) -> set[str]:
    """The rollouts whose route was seen at weight 0."""
    return {event.name for event in events if event.what == "weight" and event.facts["weight"] == 0}


@dataclass(frozen=True)
class Abort:
    """What is known of one abort beside the answers.

    `writes` are moments at which the operator sent the route; `measured` is when it had the round that it decided on,
    by its own word, None when a later round was in before it could say so.
    """

    flipped: float
    events: Sequence[Event]
    writes: Sequence[float]
    scrapes: Sequence[Scrape]
    measured: float | None = None

    @property
    def weight_zero(self) -> float:
        """When the API showed weight 0."""
        zero = (e.at for e in self.events if e.what == "weight" and e.facts["weight"] == 0)
        return _first(zero, self.flipped, "weight 0 was never seen")

    @property
    def write_sent(self) -> float:
        """When the operator began the write of weight 0: its last write of the route before it was seen."""
        return _last(self.writes, self.flipped, self.weight_zero, "the write of weight 0 is not in the log")

    @property
    def query_answered(self) -> float:
        """When the last answer of the round that led to the write went to the operator."""
        answers = [e.at for e in self.events if e.what == "answer"]
        return _last(answers, self.flipped, self.write_sent, "no query was answered before the write")


def spans(run: Abort) -> dict[str, float | None]:
    """How long the operator took: from the answer on the wire, and from when it had it, to weight 0 in the API."""
    known = run.measured is not None and run.measured <= run.write_sent
    return {
        "answeredToZero": round(run.weight_zero - run.query_answered, 4),
        "measuredToZero": round(run.weight_zero - run.measured, 4) if known and run.measured else None,
        "flipToZero": round(run.weight_zero - run.flipped, 4),
    }


def abort_figures(run: Abort, answers: Sequence[Answer], limits: Limits) -> dict[str, float | None]:
    """Milestones in seconds from the first bad answer, and the spans that have a goal."""
    spoilt = bad_answers(answers, run.flipped)
    if not spoilt:
        raise IncompleteError("no bad answer reached a client")
    begin, end = spoilt[0].end, spoilt[-1].end
    bad_scrape = _first((s.at for s in run.scrapes if s.bad > 0), run.flipped, "no scrape showed a bad answer")
    over = first_over_limits(run.scrapes, limits, run.flipped)
    milestones = {
        "firstBadScrape": bad_scrape - begin,
        "scrapeOverLimits": over - begin,
        "queryAnswered": run.query_answered - begin,
        "writeSent": run.write_sent - begin,
        "weightZero": run.weight_zero - begin,
        "lastBadAnswer": end - begin,
    }
    return {
        **{name: round(value, 4) for name, value in milestones.items()},
        **spans(run),
        "badAnswers": len(spoilt),
        "scrapeToLastBad": round(end - over, 4),
    }


def _first(moments: Iterable[float], since: float, otherwise: str) -> float:
    found = min((at for at in moments if at >= since), default=None)
    if found is None:
        raise IncompleteError(otherwise)
    return found


def _last(moments: Iterable[float], since: float, until: float, otherwise: str) -> float:
    found = max((at for at in moments if since <= at <= until), default=None)
    if found is None:
        raise IncompleteError(otherwise)
    return found


@dataclass(frozen=True)
class Promotion:
    """One promotion: the versions, when the operator first sent a weight, and when all stable pods were promoted."""

    old: int
    new: int
    weight_sent: float
    promoted: float


def out_of_turn(promotion: Promotion, answers: Iterable[Answer]) -> list[Answer]:
    """Answers from a version that should not answer at that moment.

    The new one before its first weight left the operator; the old one to a request that began after every stable pod
    was promoted; any other at any time. Between the two moments both may answer.
    """
    return [answer for answer in answers if answer.version is not None and not _in_turn(promotion, answer)]


def _in_turn(promotion: Promotion, answer: Answer) -> bool:
    if answer.version == promotion.new:
        return answer.end >= promotion.weight_sent
    return answer.version == promotion.old and answer.start <= promotion.promoted


def last_answer(answers: Iterable[Answer], version: int, since: float) -> float | None:
    """Seconds from a moment to the last answer of a version; None when there was none after it."""
    ends = [answer.end for answer in answers if answer.version == version and answer.end >= since]
    return round(max(ends) - since, 4) if ends else None


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that this share of all values does not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
