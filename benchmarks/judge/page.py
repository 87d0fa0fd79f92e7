"""Results to Markdown: a table for each part, between the markers of docs/judge-benchmark.md."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.figures import between
from benchmarks.judge import incident_tables, plots
from benchmarks.judge.markdown import percent, table
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.judge.trial import Result

PAGE = REPOSITORY / "docs" / "judge-benchmark.md"
Lines = list[str]


def publish(found: Mapping[str, Sequence[Result]]) -> None:
    """Write the tables and the plots of everything that was found."""
    text = PAGE.read_text()
    for name, cells in found.items():
        missing = [f"Not run yet: `python -m benchmarks.judge --part {name}`."]
        text = between(text, name, section(name, cells) if cells else missing)
    PAGE.write_text(text)
    plots.draw(found)


def section(name: str, cells: Sequence[Result]) -> Lines:
    """A part's table."""
    return _SECTIONS[name](cells)


def _identical(cells: Sequence[Result]) -> Lines:
    """The worst cell of each kind of noise; doubtful cells count with the runs that were made afresh."""
    rules = list(cells[0]["rules"])
    kinds: defaultdict[str, list[Result]] = defaultdict(list)
    for cell in cells:
        kinds[cell["noise"] + (", steps 5/10/25/50 %" if len(cell["shares"]) > 1 else "")].append(cell)
    rows = [
        [kind, str(len(group)), *(percent(max(_ended(cell, rule) for cell in group)) for rule in rules)]
        for kind, group in kinds.items()
    ]
    return table(["worst cell, % of runs", "cells", *_heads(rules)], rows)


def _heads(rules: Iterable[str]) -> Lines:
    return [f"**{rule}**" if rule in {"proof", "suspicion"} else rule for rule in rules]


def _ended(cell: Result, rule: str) -> float:
    again = cell.get("again") if rule == "proof" else None
    share: float = again["proof"] if again else cell["rules"][rule]["ended"]
    return share


def _delay(figures: Mapping[str, float | None], onset: float) -> str:
    """Median and 90th percentile in minutes; the share that was caught at all, unless it was all of it."""
    if figures["median"] is None and figures["p90"] is None and not figures["ended"]:
        return "-"
    times = "/".join("-" if value is None else f"{value:.2g}" for value in (figures["median"], figures["p90"]))
    caught = (figures["ended"] or 0.0) - (figures["early"] or 0.0)
    early = f" ({percent(figures['early'] or 0.0)} % before)" if onset and figures["early"] else ""
    return f"{times}{early}" if caught + (figures["early"] or 0.0) > 0.995 else f"{times} ({percent(caught)} %){early}"


def _worse(cells: Sequence[Result]) -> Lines:
    rules = list(cells[0]["rules"])
    rows = [
        [_what(cell), _how_bad(cell), *(_delay(cell["rules"][rule], cell["onset"]) for rule in rules)] for cell in cells
    ]
    return table(["answers/s, canary's share, noise", "canary", *_heads(rules)], rows)


def _what(cell: Result) -> str:
    shares = "/".join(f"{100 * share:g}" for share in cell["shares"])
    return f"{cell['rps']:g}, {shares} %, {cell['noise']}"


def _how_bad(cell: Result) -> str:
    worse = f"{100 * cell['added']:g} % instead of none" if cell["added"] else f"x{cell['ratio']:g}"
    return f"{worse}, from minute {cell['onset'] / 60:g} on" if cell["onset"] else worse


def _stress(cells: Sequence[Result]) -> Lines:
    shown = ("proof", "suspicion", "phi 1", "five in a row", "Flagger", "Argo")
    rows = [
        [
            _what(cell),
            f"{100 * cell['base']:g}",
            _special(cell),
            *(percent(cell["rules"][rule]["ended"]) for rule in shown),
        ]
        for cell in cells
    ]
    return table(["answers/s, canary's share, noise", "base %", "besides", *_heads(shown)], rows)


def _special(cell: Result) -> str:
    found = []
    if cell["gaps"]:
        found.append("nobody looks for 40 s, 2 and 10 min")
    if cell["seconds"] > 3600:
        found.append(f"{cell['seconds'] / 3600:g} hours")
    if cell["before"] != 600:
        found.append(f"{cell['before']:g} s of stable before")
    return ", ".join(found)


def _latency(cells: Sequence[Result]) -> Lines:
    rules = list(cells[0]["rules"])
    rows = [
        [f"{cell['rps']:g}, {100 * cell['shares'][0]:g} %", cell["noise"], cell["slower"], *_reaction(cell, rules)]
        for cell in cells
    ]
    return table(["answers/s, canary's share", "noise", "slower on the canary", *_heads(rules)], rows)


def _reaction(cell: Result, rules: Iterable[str]) -> Iterable[str]:
    if cell["slower"] == "nothing":
        return (f"{percent(cell['rules'][rule]['ended'])} %" for rule in rules)
    return (_delay(cell["rules"][rule], 0.0) for rule in rules)


def _good_or_worse(cells: Sequence[Result]) -> Lines:
    """Shares where the canary is good, delays where it is not."""
    rules = list(cells[0]["rules"])
    rows = [
        [
            _what(cell),
            f"{100 * cell['base']:g}",
            f"x{cell['ratio']:g}",
            *(
                f"{percent(cell['rules'][rule]['ended'])} %" if cell["ratio"] == 1 else _delay(cell["rules"][rule], 0.0)
                for rule in rules
            ),
        ]
        for cell in cells
    ]
    return table(["answers/s, canary's share, noise", "base %", "canary", *_heads(rules)], rows)


def _certified(cells: Sequence[Result]) -> Lines:
    """How many were said to be no worse, and after how long."""
    grouped: defaultdict[tuple[float, float, str], dict[float, Result]] = defaultdict(dict)
    for cell in cells:
        grouped[cell["rps"], cell["base"], cell["noise"]][cell["ratio"]] = cell["rules"]["no worse"]
    ratios = sorted({cell["ratio"] for cell in cells})
    rows = [
        [f"{rps:g}, {noise}", f"{100 * base:g}", *(_certificate(found[ratio]) for ratio in ratios)]
        for (rps, base, noise), found in grouped.items()
    ]
    return table(["answers/s, noise", "base %", *(f"canary x{ratio:g}" for ratio in ratios)], rows)


def _certificate(figures: Mapping[str, float | None]) -> str:
    share, median = figures["ended"] or 0.0, figures["median"]
    return f"{percent(share)} %" + (f", {median:.2g} min" if median is not None else "")


def _gauge(cells: Sequence[Result]) -> Lines:
    """Each kind of noise a line: good versions that failed and that passed, and how soon worse ones fail."""
    ratios = sorted({cell["ratio"] for cell in cells})
    by_noise: defaultdict[str, dict[float, Result]] = defaultdict(dict)
    for cell in cells:
        by_noise[cell["noise"]][cell["ratio"]] = cell
    rows = [
        [noise, *(_gauge_cell(found[ratio]) if ratio in found else "" for ratio in ratios)]
        for noise, found in by_noise.items()
    ]
    return table(["noise", *(f"canary x{ratio:g}" for ratio in ratios)], rows)


def _gauge_cell(cell: Result) -> str:
    failed, passed = percent(cell["failed"]), percent(cell["passed"])
    if cell["ratio"] == 1:
        return f"**{failed} %** (passed {passed} %)"
    return f"{failed} %" + (f", {cell['median']:.0f} min" if cell["median"] is not None else "")


def _cost(cells: Sequence[Result]) -> Lines:
    rows = [[cell["key"], f"{cell['counters']:.1f}", f"{cell['judging']:.1f}"] for cell in cells]
    heads = ["a round of", "counters to answers, ms", "answers to evidence, ms"]
    return [f"On {cells[0]['cores']} cores ({cells[0]['processor']}).", "", *table(heads, rows)]


_SECTIONS: dict[str, Callable[[Sequence[Result]], Lines]] = {
    **dict.fromkeys(("identical-15s", "identical-5s", "identical-1s"), _identical),
    "worse": _worse,
    "stress": _stress,
    "latency": _latency,
    "incidents": incident_tables.lines,
    "remembered": _good_or_worse,
    "certified": _certified,
    "gauge": _gauge,
    "cost": _cost,
}
