"""Alerts: `analysis.alerts` says which ones take a canary back while they fire (docs/design.md, "Alerts").

An alert is an object's own when its label `namespace` is the object's; one without that label is nobody's.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelrollout.core.analysis import ALERTS, Measurement, Verdict
from modelrollout.core.values import JSON

NAMESPACE = "namespace"
_HIDDEN = frozenset({"__name__", "alertname", "alertstate", NAMESPACE})
_MOST_LABELS = 6


@dataclass(frozen=True, slots=True)
class Alert:
    """One that fires. `heard` is when Alertmanager called about it, None for one that Prometheus was asked about."""

    labels: Mapping[str, str]
    heard: datetime | None = None

    def __str__(self) -> str:
        """As people know it: its name, then what tells it from others of that name."""
        others = sorted(item for item in self.labels.items() if item[0] not in _HIDDEN)
        said = ", ".join(f"{name}={value}" for name, value in others[:_MOST_LABELS])
        return f"alert {self.labels.get('alertname', 'without a name')}" + (f" ({said})" if said else "")


def firing_query(namespace: str, wanted: Iterable[Mapping[str, str]]) -> str:
    """PromQL: the firing ones among the alerts that an object named; empty when it named none."""
    return " or ".join(f"ALERTS{{{_matchers(namespace, labels)}}}" for labels in wanted)


def _matchers(namespace: str, labels: Mapping[str, str]) -> str:
    fixed = {"alertstate": "firing", NAMESPACE: namespace}
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in {**labels, **fixed}.items())


def concerns(rollout: JSON, labels: Mapping[str, str]) -> bool:
    """Whether a ModelRollout named this alert: it is of its namespace and has all labels of an entry."""
    named: Iterable[JSON] = rollout.get("spec", {}).get("analysis", {}).get("alerts", ())
    if labels.get(NAMESPACE) != rollout["metadata"]["namespace"]:
        return False
    return any(item["matchLabels"].items() <= labels.items() for item in named)


def measured(query: str, firing: Iterable[Alert]) -> Measurement:
    """What the answer to the question for alerts says: one that fires is a failure without further proof."""
    found = sorted(map(str, firing))
    if not found:
        return Measurement(ALERTS, Verdict.PASS, f"none fires; query {query}")
    return Measurement(ALERTS, Verdict.FAIL, f"{_fire(found)}; query {query}")


def unheard(query: str, why: str) -> Measurement:
    """No answer is not a bad answer: nothing is known of the alerts."""
    return Measurement(ALERTS, Verdict.ERROR, f"{why}; query {query}")


def _fire(found: list[str]) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0]}{more} {'fire' if more else 'fires'}"


def told_since(alerts: Iterable[Alert], start: datetime) -> Iterator[Alert]:
    """Those that Alertmanager called about since then: earlier ones concern what was before."""
    return (alert for alert in alerts if alert.heard is not None and alert.heard >= start)
