"""Answers, and the report over them. Written by the generator, read by the demo and the tests."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end. Times are seconds since the epoch; `version` is None when no version answered.

    `error` is empty after a right answer, else what went wrong: a gRPC code, an HTTP status, `WRONG` for a wrong value.
    """

    start: float
    end: float
    protocol: str
    user: str
    version: int | None
    error: str = ""


@dataclass(slots=True)
class Recorder:
    """Keeps every answer; also writes each as a line of JSON when a file is given."""

    file: IO[str] | None = None
    answers: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Take one answer."""
        self.answers.append(answer)
        if self.file is not None:
            self.file.write(json.dumps(asdict(answer)) + "\n")


def read_records(path: Path) -> list[Answer]:
    """The answers of a file that a recorder wrote; an unfinished last line is left out."""
    lines = path.read_text().splitlines(keepends=True)
    return [Answer(**json.loads(line)) for line in lines if line.endswith("\n")]


def report(answers: Iterable[Answer]) -> dict[str, Any]:
    """Counts, errors and latency per answering version (`none` where no version answered) and protocol."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[str(answer.version) if answer.version is not None else "none"].append(answer)
    everything = [answer for group in groups.values() for answer in group]
    return {
        "answers": len(everything),
        "failed": sum(1 for answer in everything if answer.error),
        "versions": {version: _group(group) for version, group in sorted(groups.items())},
    }


def _group(answers: list[Answer]) -> dict[str, Any]:
    spans = sorted(answer.end - answer.start for answer in answers)
    return {
        "answers": len(answers),
        "protocols": dict(Counter(answer.protocol for answer in answers)),
        "errors": dict(Counter(answer.error for answer in answers if answer.error)),
        "milliseconds": {
            f"p{q}": round(1000 * spans[min(len(spans) - 1, len(spans) * q // 100)], 2) for q in (50, 95, 99)
        },
    }
