"""The pictures of docs/judge-benchmark.md, from the same results as its tables."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from benchmarks.judge.incident_tables import price
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.judge.trial import Result

FOLDER = REPOSITORY / "docs" / "images"
MARKS = {
    "proof": ("o", "#0a7d4f"),
    "suspicion": ("D", "#1f6fb2"),
    "phi 1": ("v", "#8d8d8d"),
    "one breach": ("x", "#c2571a"),
    "five in a row": ("+", "#c2571a"),
    "Flagger": ("s", "#a83279"),
    "Argo": ("^", "#d9a400"),
    "z-test": ("1", "#555555"),
    "Kayenta": ("*", "#6b4fa1"),
}
PRICES = {
    "StepBack": ("o", "#0a7d4f"),
    "StepBack, until lower": (".", "#7cc4a4"),
    "StepOut": ("D", "#1f6fb2"),
    "Flagger": ("s", "#a83279"),
    "Argo": ("^", "#d9a400"),
    "in a row": ("+", "#c2571a"),
}
LEAST = 0.05
"""Percent that stand for none on a logarithmic axis."""


def draw(found: Mapping[str, Sequence[Result]]) -> None:
    """Write every picture whose figures are there."""
    plt.rcParams.update({"svg.hashsalt": "modelrollout", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    if found.get("identical-15s"):
        _save(_false_aborts(found["identical-15s"]), "judge-false-aborts")
    if found.get("worse"):
        _save(_delays(found["worse"]), "judge-delays")
    if found.get("incidents"):
        _save(_incidents(found["incidents"]), "judge-incidents")


def _save(figure: Figure, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def _false_aborts(cells: Sequence[Result]) -> Figure:
    """Each kind of noise a line, its worst cell of each rule a mark."""
    worst: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for cell in cells:
        for rule, figures in cell["rules"].items():
            share = cell["again"]["proof"] if rule == "proof" and "again" in cell else figures["ended"]
            worst[cell["noise"]][rule] = max(worst[cell["noise"]].get(rule, LEAST), 100 * share)
    figure, axes = plt.subplots(figsize=(8, 3.2))
    for rule, (mark, colour) in MARKS.items():
        axes.plot([by[rule] for by in worst.values()], list(worst), mark, color=colour, label=rule)
    axes.axvline(1, color="black", lw=0.8, ls="--")
    axes.set(xscale="log", xlabel=f"good versions taken back in an hour, worst cell, % (at {LEAST:g}: none)")
    axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False)
    return figure


def _delays(cells: Sequence[Result]) -> Figure:
    """Time to half of the verdicts, by how much worse the canary is."""
    chosen = [cell for cell in cells if cell["noise"] == "Poisson" and not (cell["onset"] or cell["added"])]
    traffic = (10.0, 50.0, 1000.0)
    figure, axes = plt.subplots(1, len(traffic), figsize=(9, 3), sharey=True)
    for panel, rps in zip(axes, traffic, strict=True):
        there = sorted(
            (cell for cell in chosen if cell["rps"] == rps and cell["ratio"] in {1.5, 2, 4, 10, 20, 30}),
            key=lambda cell: cell["ratio"],
        )
        for rule, (mark, colour) in MARKS.items():
            known = [cell for cell in there if cell["rules"][rule]["median"] is not None]
            minutes = [cell["rules"][rule]["median"] for cell in known]
            panel.plot([cell["ratio"] for cell in known], minutes, mark, ls="-", lw=0.8, color=colour, label=rule)
        panel.set(xscale="log", yscale="log", title=f"{rps:g} answers/s", xlabel="times as many bad answers")
        panel.set_xticks([1.5, 2, 4, 10, 30], ["1.5", "2", "4", "10", "30"])
        panel.minorticks_off()
    axes[0].set_yticks([0.1, 1, 10, 60], ["0.1", "1", "10", "60"])
    axes[0].set_ylabel("minutes, median")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _incidents(services: Sequence[Result]) -> Figure:
    """Bad answers by how much worse the canary is: a column for each service, early above late."""
    figure, axes = plt.subplots(2, len(services), figsize=(2.3 * len(services) + 1, 5), sharex=True, squeeze=False)
    for column, service in enumerate(services):
        for row, late in enumerate((False, True)):
            panel = axes[row][column]
            there = [item for item in service["incidents"] if bool(item["onset"]) == late]
            for name, (mark, colour) in PRICES.items():
                _spread(panel, there, name, mark, colour)
            panel.set(xscale="log", yscale="log")
            panel.set_xticks([2, 4, 10, 30], ["2", "4", "10", "30"])
            panel.minorticks_off()
        axes[0][column].set_title(f"{service['rps']:g}/s, {100 * service['base']:g} % bad")
        axes[1][column].set_xlabel("times as many bad answers")
    axes[0][0].set_ylabel("bad answers, from the start")
    axes[1][0].set_ylabel("bad answers, late")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0), frameon=False)
    return figure


def _spread(panel: Axes, incidents: Sequence[Result], name: str, mark: str, colour: str) -> None:
    """The worst kind of noise, of each ratio."""
    worst: defaultdict[float, float] = defaultdict(float)
    for item in incidents:
        paid = price(item, name)
        if paid is not None:
            worst[item["ratio"]] = max(worst[item["ratio"]], paid, 1.0)
    panel.plot(list(worst), list(worst.values()), mark, ls="-", lw=0.8, color=colour, label=name)
