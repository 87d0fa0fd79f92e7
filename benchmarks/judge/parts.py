"""The parts of the benchmark: which cells each tries, with which rules, how often. `__main__` runs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.judge import cells, gauges, incidents, latency
from benchmarks.judge.panel import Certifying, Everybody, Own, Remembering
from benchmarks.judge.trial import Result, batches, chance, facts, figures, hear_all, joined, try_cell
from benchmarks.judge.twin import Variant
from modelrollout.core.judge.process import TAIL_CAPS, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.judge.traces import Scenario


class Cell(Protocol):
    """Something that can be tried."""

    @property
    def key(self) -> str:
        """Names it."""


@dataclass(frozen=True)
class Part:
    """`attempt(cell, runs)` gives a cell's figures; `runs` is how many a full benchmark makes."""

    name: str
    cells: Callable[[], Sequence[Any]]
    attempt: Callable[[Any, int], Result]
    runs: int


DOUBTFUL, AGAIN = 0.005, 10
"""A cell with more false aborts than this is tried again, afresh, with so many times the runs: then chance is small."""


def _identical(cell: Scenario, runs: int) -> Result:
    """Without a bad answer no rule ends anything: a tenth of the runs shows that as well."""
    panel = Everybody if cell.tick == max(cells.TICKS) else Own
    found = try_cell(cell, runs if cell.base else max(1, runs // 10), panel)
    if found["rules"]["proof"]["ended"] <= DOUBTFUL:
        return found
    again = try_cell(replace(cell, before=cell.before + cell.tick), runs * AGAIN, Own)
    return {**found, "again": {"runs": again["runs"], "proof": again["rules"]["proof"]["ended"]}}


def _latency(cell: latency.Cell, runs: int) -> Result:
    """The operator's rule alone: what others do with a quantile is not a count."""
    panel = partial(Own, comparisons=len(latency.BOUNDS), variant=Variant(Rule(caps=TAIL_CAPS)))
    found = [
        hear_all(latency.ticks(cell, size, chance(cell.key, number)), panel(size))
        for number, size in enumerate(batches(runs))
    ]
    rules = {name: figures(cell.scenario, at) for name, at in joined(found).items()}
    return {**facts(cell.scenario), "key": cell.key, "slower": cell.slower.name, "runs": runs, "rules": rules}


PARTS = {
    part.name: part
    for part in (
        *(Part(f"identical-{tick:g}s", partial(cells.identical, tick), _identical, 1000) for tick in cells.TICKS),
        Part("worse", cells.worse, partial(try_cell, panel=Everybody), 1000),
        Part("stress", cells.stress, partial(try_cell, panel=Everybody), 2000),
        Part("latency", latency.cells, _latency, 1000),
        Part("incidents", incidents.services, incidents.try_service, 300),
        Part("remembered", cells.remembered, partial(try_cell, panel=Remembering), 1000),
        Part("gauge", gauges.cells, gauges.attempt, 1000),
        Part("certified", cells.certified, partial(try_cell, panel=Certifying), 1000),
    )
}
