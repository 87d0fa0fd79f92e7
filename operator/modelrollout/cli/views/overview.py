"""Many rollouts on one screen: those that something happens to first, as many as there is room for."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from modelrollout.cli.views import table
from modelrollout.cli.views.words import at, colour, phase
from modelrollout.core.values import JSON

_QUIET = "Healthy"
_AROUND = 3
"""Lines that are not rollouts: the head of the table, the sum, and the cursor's own."""


def show(objects: Iterable[JSON], now: datetime, width: int, height: int) -> RenderableType:
    """Busy and troubled rollouts first, cut to the height before anything is laid out: that is what costs time."""
    items = sorted(objects, key=_order)
    phases = Counter(phase(item) for item in items)
    room = max(1, height - _AROUND)
    several = len({at(item, "metadata.namespace") for item in items}) > 1
    shown = table.rollouts(items[:room], now, namespaces=several, width=width)
    return Group(shown, _sum(phases, len(items) - room))


def _order(item: JSON) -> tuple[bool, str, str]:
    return phase(item) == _QUIET, at(item, "metadata.namespace"), at(item, "metadata.name")


def _sum(phases: Counter[str], hidden: int) -> Text:
    line = Text()
    for word, count in phases.most_common():
        line.append(f"{count} {word}  ", colour(word))
    if hidden > 0:
        line.append(f"({hidden} more do not fit)", "dim")
    return line if phases else Text("No ModelRollouts here.")
