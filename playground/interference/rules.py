"""Rules of a lane: which requests they are for and what becomes of them. Pure but for reading the file.

A lane's rules lie in a JSON file that is looked at for every request, so what a test has written holds from the next
request on. Of the rules of a file the first that matches decides; without one a request passes untouched.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WRITES = "POST|PUT|PATCH|DELETE"
"""Methods of requests that change something."""
WATCHES = r"[?&]watch=(1|true)"
"""Found in the target of every watch."""
OBJECT_WRITES = r"^(?!.*/(events|leases))"
"""Found in the target of everything but events and leases: what tells of no rollout's state."""


@dataclass(frozen=True, slots=True)
class Request:
    """What rules look at. `target` is path and query, decoded, without upstream and lane."""

    method: str
    target: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions are regular expressions (empty: anything); the first `skip` matches pass, then `times` are taken.

    A rule that says neither `status`, `answer`, `text`, `drop` nor `kill` only delays or changes what is forwarded. One
    that does keeps the request from the upstream unless `forward` is set: then only its answer is replaced or lost.
    """

    method: str = ""
    """All of the method."""
    target: str = ""
    """Somewhere in path and query."""
    body: str = ""
    """Somewhere in the request's body."""
    skip: int = 0
    times: int | None = None
    """None: without end."""

    delay: float = 0.0
    """Seconds before anything else happens."""
    forward: bool = False
    status: int | None = None
    """Answer this HTTP status, in the form of the API server's errors unless `answer` has a body."""
    retry_after: int | None = None
    """Seconds to send as Retry-After."""
    answer: Any = None
    """Answer this JSON."""
    text: str | None = None
    """Answer this, and claim that it is JSON."""
    drop: bool = False
    """Close the connection without an answer; streams that are under way are cut as well."""
    kill: bool = False
    """End the lane's process by SIGKILL, then close the connection."""
    late: float = 0.0
    """Seconds by which everything a watch says is held back."""
    say: str = ""
    """What each watch says once, in between, as soon as the rule holds."""
    end: bool = False
    """Watches end, as they do when their time is over."""
    hush: bool = False
    """Watches that have something to say, or end, meanwhile fall silent, for good: as if their connections were cut."""
    at_version: str = ""
    """Listings are answered as of this resourceVersion."""
    as_of: float | None = None
    """Prometheus answers as of this moment (seconds since the epoch) when it is asked about a later one."""

    def matches(self, request: Request) -> bool:
        """Whether the rule is for such a request."""
        return (
            (not self.method or re.fullmatch(self.method, request.method) is not None)
            and re.search(self.target, request.target) is not None
            and re.search(self.body, request.body) is not None
        )

    @property
    def passes(self) -> bool:
        """Whether the request reaches the upstream."""
        return self.forward or not (self.answers or self.drop or self.kill)

    @property
    def answers(self) -> bool:
        """Whether the asker gets something else than what the upstream answers."""
        return bool(self.status) or self.answer is not None or self.text is not None


def dump(rules: Iterable[Rule]) -> str:
    """The text of a rules file; what is as by default is left out."""
    plain = {item.name: item.default for item in fields(Rule)}
    return json.dumps([{k: v for k, v in asdict(rule).items() if v != plain[k]} for rule in rules], indent=2)


def parse(text: str) -> tuple[Rule, ...]:
    """The rules of a file's text. Raises TypeError for a key that no rule has, ValueError for what is not JSON."""
    return tuple(Rule(**raw) for raw in json.loads(text))


@dataclass(slots=True)
class RuleBook:
    """A lane's rules as they stand, and how often each has matched since the file was written."""

    file: Path
    _seen: tuple[int, int] = (0, 0)
    _rules: tuple[Rule, ...] = ()
    _counts: list[int] = field(default_factory=list)

    def take(self, request: Request) -> Rule | None:
        """The rule that decides about this request, which counts as a match of it."""
        self._read()
        for number, rule in enumerate(self._rules):
            if not rule.matches(request):
                continue
            self._counts[number] += 1
            if _holds(rule, self._counts[number]):
                return rule
        return None

    def standing(self, request: Request) -> Rule | None:
        """The rule that decides about this request now, which is under way already and counts for nothing.

        One that has had no match yet holds for it as for a first one.
        """
        self._read()
        matching = ((rule, max(count, 1)) for rule, count in zip(self._rules, self._counts, strict=True))
        return next((rule for rule, count in matching if rule.matches(request) and _holds(rule, count)), None)

    def _read(self) -> None:
        """Read the file again if it is another one; it is only ever replaced whole."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._rules = seen, parse(self.file.read_text())
            self._counts = [0] * len(self._rules)


def _holds(rule: Rule, count: int) -> bool:
    """Whether a rule takes its match of this number."""
    return count > rule.skip and (rule.times is None or count <= rule.skip + rule.times)
