"""What all tables of docs/judge-benchmark.md share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Heads, a rule, and the rows."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def percent(share: float) -> str:
    """Two digits of what is rare."""
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
