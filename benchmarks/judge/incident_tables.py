"""What users pay, as tables: `page` puts them into docs/judge-benchmark.md."""

from __future__ import annotations

from collections import defaultdict
from math import exp, log
from typing import TYPE_CHECKING

from benchmarks.judge.markdown import percent, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.judge.trial import Result

OWN = ("StepBack", "StepOut")
LOWER = ", until lower"
PRICES = (*OWN, *(f"{name}{LOWER}" for name in OWN))
"""Bad answers until proof, and until a suspicion or proof first took the weight down."""
RIVALS = ("Flagger", "Argo", "in a row")
ORACLES = tuple(f"{name}, for this" for name in RIVALS)
OTHERS = (*RIVALS, *ORACLES)


def lines(services: Sequence[Result]) -> list[str]:
    """How many times as many bad answers others cost; then every service, means over the kinds of noise."""
    found = ["### All incidents", "", *_summary(services), ""]
    for service in services:
        found += [f"### {service['rps']:g} answers/s, {100 * service['base']:g} % bad", "", *_service(service), ""]
    return found[:-1]


def price(incident: Result, name: str) -> float | None:
    """Bad answers of an incident under a rule; None where no setting of it is allowed."""
    value = incident.get(name.removesuffix(LOWER))
    counted = "until lower" if name.endswith(LOWER) else "excess"
    paid: float | None = value[counted] if isinstance(value, dict) else value
    return paid


def _summary(services: Iterable[Result]) -> list[str]:
    incidents = [incident for service in services for incident in service["incidents"]]
    rows = [[f"**{name}**", *(_times(incidents, name, other) for other in OTHERS)] for name in PRICES]
    heads = ["their bad answers over ours, geometric mean (three times or more: share of incidents)", *OTHERS]
    return table(heads, rows)


def _times(incidents: Iterable[Result], ours: str, other: str) -> str:
    pairs = [(price(incident, ours), price(incident, other)) for incident in incidents]
    ratios = [max(theirs, 1.0) / max(mine, 1.0) for mine, theirs in pairs if mine is not None and theirs is not None]
    if not ratios:
        return "-"
    return f"{_geometric(ratios):.1f} ({percent(sum(ratio >= 3 for ratio in ratios) / len(ratios))} %)"


def _service(service: Result) -> list[str]:
    groups: defaultdict[tuple[float, float], list[Result]] = defaultdict(list)
    for incident in service["incidents"]:
        groups[incident["onset"], incident["ratio"]].append(incident)
    rows = [
        [
            f"x{ratio:g}",
            f"minute {onset / 60:g}" if onset else "the start",
            *(_mean(group, name) for name in (*PRICES, *OTHERS)),
        ]
        for (onset, ratio), group in groups.items()
    ]
    chosen = "; ".join(f"{name}: {setting}" for name, setting in service["settings"].items())
    quiet = [[hour["noise"], *(_quiet(hour[name]) for name in OWN)] for hour in service["good"]]
    return [
        *table(["canary", "since", *(f"**{name}**" for name in PRICES), *OTHERS], rows),
        "",
        f"{service['runs']} runs of each. Settings: {chosen or 'none is allowed'}.",
        "",
        *table(["an hour in which nothing is wrong", *OWN], quiet),
    ]


def _mean(incidents: Iterable[Result], name: str) -> str:
    paid = [price(incident, name) for incident in incidents]
    known = [max(1.0, value) for value in paid if value is not None]
    return f"{_geometric(known):,.0f}" if known else "-"


def _geometric(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def _quiet(figures: Result) -> str:
    return (
        f"{percent(figures['proven'])} % aborted, {figures['suspicions']:.2g} suspicions, "
        f"{figures['held']:.2g} min at a lower weight"
    )
