"""Tables: rollouts one per line, and the rollouts that one object has behind it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from modelrollout.cli.views.words import age, at, colour, moment, span, weight
from modelrollout.core.values import JSON


def rollouts(items: Sequence[JSON], now: datetime, *, namespaces: bool) -> Table:
    """One line per rollout; with their namespaces when they are from several."""
    table = _table(*(("NAMESPACE",) if namespaces else ()), "NAME", "STATUS", "STEP", "WEIGHT", "STABLE", "CANARY")
    table.add_column("VERDICT")
    table.add_column("AGE")
    table.add_column("MESSAGE", no_wrap=True, overflow="ellipsis", ratio=1)
    for item in items:
        table.add_row(*([at(item, "metadata.namespace")] if namespaces else []), *_row(item, now))
    return table


def history(entries: Iterable[JSON], now: datetime) -> Table:
    """One line per rollout that is over, the last one first."""
    table = _table("ATTEMPT", "VERSION", "OUTCOME", "REASON", "ASKED BY", "ENDED", "TOOK")
    table.add_column("WHY", overflow="fold", ratio=1)
    for entry in entries:
        started, ended = moment(entry, "started"), moment(entry, "ended")
        outcome = at(entry, "outcome")
        table.add_row(
            str(at(entry, "attempt")),
            str(at(entry, "version")),
            Text(outcome, "green" if outcome == "Promoted" else "red" if outcome == "RolledBack" else "yellow"),
            at(entry, "reason"),
            at(entry, "requestedBy"),
            f"{span(now - ended)} ago" if ended else "",
            span(ended - started) if started and ended else "",
            at(entry, "message"),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _row(item: JSON, now: datetime) -> list[Any]:
    phase, verdict = at(item, "status.phase", "Pending"), at(item, "status.lastVerdict")
    return [
        at(item, "metadata.name"),
        Text(phase, colour(phase)),
        at(item, "status.currentStep"),
        weight(item),
        str(at(item, "status.stable.version")),
        str(at(item, "status.canary.version")),
        Text(verdict, colour(verdict)),
        age(item, now),
        at(item, "status.message"),
    ]
