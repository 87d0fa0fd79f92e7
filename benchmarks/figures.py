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
    """One line of a table: where the figure stands in a run, what people call it, and its goals, if it has any.

    A `total` is summed over the runs; its goal is `worst_goal`.
    """

    key: str
    title: str
    unit: str = ""
    factor: float = 1
    median_goal: float | None = None
    worst_goal: float | None = None
    total: bool = False


def load(name: str) -> dict[str, Any]:
    """A benchmark's results so far."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return {"benchmark": name, "environments": {}, "runs": []}
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def without(results: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """The results without the runs of one variant, which are about to be made anew."""
    environments = {name: value for name, value in results["environments"].items() if name != variant}
    runs = [run for run in results["runs"] if run["variant"] != variant]
    return {**results, "environments": environments, "runs": runs}


def keep(results: Mapping[str, Any], run: Run, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Add a run and write the file at once: what was measured survives whatever comes after."""
    environments = {**results["environments"], run["variant"]: environment}
    added = {**results, "environments": environments, "runs": [*results["runs"], run]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{added['benchmark']}.json").write_text(json.dumps(added, indent=1) + "\n")
    return added


def table(runs: Sequence[Run], figures: Iterable[Figure]) -> list[str]:
    """A Markdown table: a line for each figure, a column for each variant with `median / worst`, or the total."""
    variants = {name: [run for run in runs if run["variant"] == name] for name in _names(runs)}
    heads = [f"{name}, {_count(found)}" for name, found in variants.items()]
    lines = [_row(["median / worst", "goal", *heads]), _row(["---"] * (len(heads) + 2))]
    for figure in figures:
        cells = [_cell(figure, _values(figure, found)) for found in variants.values()]
        if any(cells):
            lines.append(_row([figure.title, _goals(figure), *cells]))
    return lines


def _names(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run["variant"] for run in runs))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def _count(runs: Sequence[Run]) -> str:
    """How many runs gave figures; a run that did not show what it is about has a `problem` instead."""
    good = sum("problem" not in run for run in runs)
    plural = "s" if len(runs) != 1 else ""
    return f"{good} run{plural}" if good == len(runs) else f"{good} of {len(runs)} run{plural}"


def _values(figure: Figure, runs: Iterable[Run]) -> list[float]:
    return [run[figure.key] * figure.factor for run in runs if run.get(figure.key) is not None]


def _cell(figure: Figure, values: Sequence[float]) -> str:
    """Empty without values; what misses its goal says so."""
    if not values:
        return ""
    if figure.total:
        return _marked(sum(values), figure.worst_goal)
    middle, worst = median(values), max(values)
    return f"{_marked(middle, figure.median_goal)} / {_marked(worst, figure.worst_goal)}"


def _marked(value: float, goal: float | None) -> str:
    text = _number(value)
    return f"**{text} (missed)**" if goal is not None and value > goal else text


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _goals(figure: Figure) -> str:
    """Beside each other as the figures are, with the unit; the unit alone where nothing is asked for."""
    if figure.total:
        goal = "" if figure.worst_goal is None else _number(figure.worst_goal)
        return f"{goal} {figure.unit}".strip()
    given = (figure.median_goal, figure.worst_goal)
    if given == (None, None):
        return figure.unit
    return f"{' / '.join('-' if goal is None else _number(goal) for goal in given)} {figure.unit}".strip()


def environment_line(environments: Iterable[Mapping[str, Any]]) -> str:
    """What the figures were measured on, in a sentence; several if runs came from several. And how busy that was."""
    listed = list(environments)
    texts = []
    for item in listed:
        versions = ", ".join(f"{name} {version}" for name, version in item["versions"].items())
        texts.append(f"{item['cores']} cores, {versions}")
    load = max((item["load"] for item in listed if "load" in item), default=None)
    busy = "" if load is None else f" Load when the commands began: {load:g} at most."
    return f"Measured on: {'; '.join(dict.fromkeys(texts))}.{busy}"


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
