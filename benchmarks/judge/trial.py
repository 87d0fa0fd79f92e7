"""Runs one cell: the same answers for all rules, and what each made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

import numpy as np

from benchmarks.judge.traces import Scenario, Tick, ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Result = dict[str, Any]
AT_ONCE = 1000
"""Runs in one array: so many stay in the processor's cache."""


class Panel(Protocol):
    """Rules that hear the same ticks."""

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""

    def times(self) -> dict[str, Numbers]:
        """When each rule would have ended each run: seconds, infinite for never."""


def chance(name: str, number: int) -> np.random.Generator:
    """The random numbers of a cell's so many-th batch: the same each time."""
    return np.random.default_rng([crc32(name.encode()), number])


def batches(runs: int) -> list[int]:
    """Runs of each batch."""
    return [min(AT_ONCE, runs - begin) for begin in range(0, runs, AT_ONCE)]


def hear_all(answers: Iterable[Tick], panel: Panel) -> dict[str, Numbers]:
    """What the rules make of a batch."""
    for tick in answers:
        panel.hear(tick)
    return panel.times()


def try_cell(scenario: Scenario, runs: int, panel: Callable[[int], Panel]) -> Result:
    """A cell's figures: for each rule the share of runs it ended, and how long after the onset."""
    found = [
        hear_all(ticks(scenario, size, chance(scenario.key, number)), panel(size))
        for number, size in enumerate(batches(runs))
    ]
    rules = {name: figures(scenario, at) for name, at in joined(found).items()}
    return {**facts(scenario), "runs": runs, "rules": rules}


def joined(found: Sequence[Mapping[str, Numbers]]) -> dict[str, Numbers]:
    """The batches as one."""
    return {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}


def facts(scenario: Scenario) -> Result:
    """What was tried, as JSON has it."""
    fields = ("key", "rps", "base", "tick", "ratio", "added", "onset", "seconds", "before")
    found = {name: getattr(scenario, name) for name in fields}
    return {**found, "shares": list(scenario.shares), "noise": scenario.noise.name, "gaps": len(scenario.gaps)}


def figures(scenario: Scenario, times: Numbers) -> Mapping[str, float | None]:
    """Shares of runs that were ended, before the onset too; the delay's median and 90th percentile in minutes."""
    after = times[times >= scenario.onset] - scenario.onset
    return {
        "ended": float(np.isfinite(times).mean()),
        "early": float((times < scenario.onset).mean()),
        "median": _minutes(after, 0.5),
        "p90": _minutes(after, 0.9),
    }


def _minutes(delays: Numbers, quantile: float) -> float | None:
    """None where so many were never ended."""
    if not len(delays):
        return None
    value = float(np.sort(delays)[min(len(delays) - 1, int(quantile * len(delays)))])
    return value / 60 if np.isfinite(value) else None
