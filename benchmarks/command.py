"""What all benchmarks share of being a command: options, a bound in time, runs kept one by one, the table."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from benchmarks import figures
from benchmarks.environment import describe
from benchmarks.lab import Lab, NeverError, lab
from benchmarks.timeline import IncompleteError
from playground.scene import NeverHappenedError
from playground.toolchain.progress import say

if TYPE_CHECKING:
    from benchmarks.figures import Figure, Run


@dataclass(frozen=True)
class Budget:
    """What a variant may take: so many runs (None: its own number), and no new one after so many minutes."""

    asked: int | None
    minutes: float
    began: float = field(default_factory=time.monotonic)

    def runs(self, own: int) -> Iterator[int]:
        """The number of each run that is still to begin, from 1 on."""
        for number in range(1, (self.asked or own) + 1):
            if time.monotonic() - self.began > 60 * self.minutes:
                say(f"{self.minutes:g} minutes are over; go on by --append")
                return
            yield number


BROKEN_OFF = (
    IncompleteError, NeverError, NeverHappenedError, requests.RequestException, subprocess.TimeoutExpired,
)  # fmt: skip
"""A run that showed nothing, or a machine too busy to answer in time."""

Variant = Callable[[Lab, Budget], Iterator["Run"]]
"""Measures runs one after the other."""


@dataclass(frozen=True)
class Benchmark:
    """One command: its variants, the lines of its table, and after how many minutes it begins nothing more."""

    name: str
    text: str
    variants: Mapping[str, Variant]
    lines: Sequence[Figure]
    minutes: float

    def main(self, arguments: Sequence[str]) -> int:
        """Measure, keep and publish; 1 when a run did not show what it is about."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended then
        chosen = self._parser().parse_args(arguments)
        failed = 0 if chosen.table else self._measure(chosen)
        results = figures.load(self.name)
        in_order = sorted(results["runs"], key=lambda run: list(self.variants).index(run["variant"]))
        figures.publish(results, figures.table(in_order, self.lines))
        return int(failed > 0)

    def _measure(self, chosen: argparse.Namespace) -> int:
        """Keep every run as it ends; how many did not show what they are about."""
        results, failed, load = figures.load(self.name), 0, os.getloadavg()[0]
        with lab(chosen.dir) as found:
            environment = describe(found.kube, found.write_seconds, load)
            budget = Budget(chosen.runs, chosen.minutes)
            for name in chosen.variant or self.variants:
                results = results if chosen.append else figures.without(results, name)
                for run in _runs(self.variants[name], found, budget):
                    say(f"{name}: {run}")
                    failed += "problem" in run
                    results = figures.keep(results, {"variant": name, **run}, environment)
        return failed

    def _parser(self) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.text)
        made.add_argument("--variant", choices=self.variants, action="append", help="only this one (may be repeated)")
        made.add_argument("--runs", type=int, help="runs of each variant, in place of its own number")
        made.add_argument("--append", action="store_true", help="add to the runs that are there, replace none")
        made.add_argument(
            "--minutes", type=float, default=self.minutes, help="begin no run later than this (default: %(default)g)"
        )
        made.add_argument("--dir", type=Path, help="use the playground in this directory, and leave it up")
        made.add_argument("--table", action="store_true", help="measure nothing, write the table anew")
        return made


def _runs(variant: Variant, found: Lab, budget: Budget) -> Iterator[Run]:
    """A variant's runs; one that breaks off leaves a run that says why."""
    try:
        yield from variant(found, budget)
    except BROKEN_OFF as error:
        yield problem(error)


def attempt(measure: Callable[[], Run]) -> Run:
    """One run; what went wrong with it, if something did, is a result too."""
    try:
        return measure()
    except BROKEN_OFF as error:
        return problem(error)


def problem(error: Exception) -> Run:
    """In place of figures."""
    return {"problem": str(error)[:500]}
