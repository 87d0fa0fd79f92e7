"""Runs to JSON, JSON to tables: what all benchmarks share of reporting. Only `keep` and `publish` touch files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESULTS = REPOSITORY / "benchmarks" / "results"
PAGE = REPOSITORY / "docs" / "benchmarks.md"

Run = dict[str, Any]
"""One run; `variant` names what was different in it."""


@dataclass(frozen=True)
class Figure:
    """One figure of a table: where it stands in a run, what people call it, and its goals, if it has any."""

    key: str
    title: str
    unit: str
    factor: float = 1
    median_goal: float | None = None
    worst_goal: float | None = None


def load(name: str) -> dict[str, Any]:
    """A benchmark's results so far."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return {"benchmark": name, "environments": {}, "runs": []}
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def without(results: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The results without the runs of one variant, which are about to be made anew."""
    return {**results, "runs": [run for run in results["runs"] if run["variant"] != variant]}


def keep(results: Mapping[str, Any], run: Run, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Add a run and write the file at once: what was measured survives whatever comes after."""
    environments = {**results["environments"], run["variant"]: environment}
    added = {**results, "environments": environments, "runs": [*results["runs"], run]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{added['benchmark']}.json").write_text(json.dumps(added, indent=1) + "\n")
    return added


def table(runs: Sequence[Run], figures: Iterable[Figure]) -> list[str]:
    """A Markdown table: a line for each variant and figure, with median, worst and goal."""
    lines = ["| variant | runs | figure | median | worst | goal |", "|---|---|---|---|---|---|"]
    chosen = list(figures)
    for variant in dict.fromkeys(run["variant"] for run in runs):
        of_variant = [run for run in runs if run["variant"] == variant]
        for figure in chosen:
            values = [run[figure.key] * figure.factor for run in of_variant if run.get(figure.key) is not None]
            if values:
                lines.append(_line(variant, values, figure))
    return lines


def _line(variant: str, values: Sequence[float], figure: Figure) -> str:
    middle, worst = median(values), max(values)
    cells = (variant, str(len(values)), figure.title, _number(middle, figure), _number(worst, figure))
    return f"| {' | '.join(cells)} | {_goal(figure, middle, worst)} |"


def _number(value: float, figure: Figure) -> str:
    return f"{value:.3g} {figure.unit}".rstrip() if abs(value) < 1000 else f"{value:,.0f} {figure.unit}".rstrip()


def _goal(figure: Figure, middle: float, worst: float) -> str:
    """The goals, each with whether it was reached."""
    goals = (("median", figure.median_goal, middle), ("worst", figure.worst_goal, worst))
    parts = [
        f"{name} {_number(goal, figure)}: {'reached' if value <= goal else '**missed**'}"
        for name, goal, value in goals
        if goal is not None
    ]
    return ", ".join(parts)


def environment_line(environments: Iterable[Mapping[str, Any]]) -> str:
    """What the figures were measured on, in a sentence; several if runs came from several."""
    texts = []
    for item in environments:
        versions = ", ".join(f"{name} {version}" for name, version in item["versions"].items())
        texts.append(f"{item['cores']} cores, {versions}")
    return f"Measured on: {'; '.join(dict.fromkeys(texts))}."


def between(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with the part between the markers of `name` replaced. Raises ValueError where there are none."""
    begin, end = f"<!-- {name}: written by the benchmark -->", f"<!-- end of {name} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no markers for {name}")
    return "\n".join([f"{head}{begin}", "", *lines, "", f"{end}{tail}"])


def publish(results: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Write a benchmark's table into the page."""
    name = results["benchmark"]
    environment = environment_line(results["environments"].values())
    PAGE.write_text(between(PAGE.read_text(), name, [environment, "", *lines]))
