"""Tables: rollouts one per line, and the rollouts that one object has behind it."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelrollout.cli.views.words import age, at, colour, moment, phase, span, weight
from modelrollout.core.values import JSON

_NARROW = 100
"""Columns of a terminal below which the message needs the room that verdict and age would take."""
_ASKERS = 32
"""Columns for who asked: one request a line, so that a rollout that many had a hand in leaves room for the reason."""


def rollouts(items: Sequence[JSON], now: datetime, *, namespaces: bool, width: int) -> Table:
    """One line per rollout; with their namespaces when they are from several. Narrow ones say less, never cut names."""
    narrow = width < _NARROW
    columns = ["NAMESPACE"] * namespaces + ["NAME", "STATUS", "STEP", "WEIGHT", "STABLE", "CANARY"]
    table = _table(*columns, *(() if narrow else ("VERDICT", "AGE")))
    table.columns[columns.index("NAME")].min_width = max((len(at(item, "metadata.name")) for item in items), default=0)
    table.add_column("MESSAGE")  # the one column that gives way: its lines are cut instead of wrapped
    for item in items:
        verdict = at(item, "status.lastVerdict")
        more: list[RenderableType] = [] if narrow else [Text(verdict, colour(verdict)), age(item, now)]
        table.add_row(
            *[at(item, "metadata.namespace")] * namespaces,
            *_row(item),
            *more,
            Text(at(item, "status.message"), no_wrap=True, overflow="ellipsis"),
        )
    return table


def history(entries: Iterable[JSON], now: datetime) -> Table:
    """One line per rollout that is over, the last one first."""
    table = _table("ATTEMPT", "VERSION", "OUTCOME", "REASON", "ENDED", "TOOK")
    table.add_column("ASKED BY", overflow="fold", max_width=_ASKERS)
    table.add_column("WHY", overflow="fold", ratio=1)
    for entry in entries:
        started, ended = moment(entry, "started"), moment(entry, "ended")
        outcome = at(entry, "outcome")
        table.add_row(
            str(at(entry, "attempt")),
            str(at(entry, "version")),
            Text(outcome, "green" if outcome == "Promoted" else "red" if outcome == "RolledBack" else "yellow"),
            at(entry, "reason"),
            f"{span(now - ended)} ago" if ended else "",
            span(ended - started) if started and ended else "",
            at(entry, "requestedBy").replace("; ", "\n"),
            at(entry, "message"),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _row(item: JSON) -> list[RenderableType]:
    return [
        at(item, "metadata.name"),
        Text(phase(item), colour(phase(item))),
        at(item, "status.currentStep"),
        weight(item),
        str(at(item, "status.stable.version")),
        str(at(item, "status.canary.version")),
    ]
