"""What status says of every ModelRollout, as text for `metrics`: each object's lines are written once per change of it.

A page that is made anew each time takes 0.3 s with a thousand objects, of which aborts would have to wait for a part.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from modelrollout.core.values import JSON, parse_time

OBJECT = ("namespace", "name")
"""The labels of every series about an object."""
_PHASES = (
    "Pending", "Initializing", "Healthy", "Preparing", "Progressing", "Paused", "Promoting", "Baking", "RollingBack",
    "RolledBack", "Degraded",
)  # fmt: skip


@dataclass(slots=True)
class Statuses:
    """The lines of every ModelRollout, by family. Nothing stays of one that is gone.

    `source` gives them as they are now: none in a standby, so that nothing is counted twice. What it gives is never
    changed: an object that changes is another one.
    """

    source: Callable[[], Iterable[JSON]] = tuple
    _known: dict[int, tuple[JSON, tuple[str, ...]]] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock)

    def text(self, rollouts: Iterable[JSON]) -> bytes:
        """All families, empty ones too, of these objects; in any thread."""
        with self._writing:
            self._known = {id(rollout): self._known.get(id(rollout)) or _written(rollout) for rollout in rollouts}
            lines = zip(_HEADS, *(written for _, written in self._known.values()), strict=True)
            return "".join(text for of_family in lines for text in of_family).encode()


@dataclass(frozen=True, slots=True)
class _Read:
    """What the encoder is to write."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        """As they are."""
        return self.families


def _written(rollout: JSON) -> tuple[JSON, tuple[str, ...]]:
    """The object, which is kept so that its id is no other's, and its lines of each family."""
    families, metadata = _families(), rollout["metadata"]
    _add(families, [metadata.get("namespace", ""), metadata["name"]], rollout.get("status") or {})
    found = zip(_text(families), _HEADS, strict=True)
    return rollout, tuple(text.removeprefix(head) for text, head in found)


def _text(families: Mapping[str, GaugeMetricFamily]) -> list[str]:
    return [generate_latest(_Read([family])).decode() for family in families.values()]


def _families() -> dict[str, GaugeMetricFamily]:
    """All of them, empty."""

    def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"modelrollout_{name}", text, labels=(*OBJECT, *labels))

    return {
        "phase": gauge("phase", "1 for the phase that a ModelRollout is in, 0 for the others.", "phase"),
        "condition": gauge("condition", "1 while a condition is True, 0 while not.", "type"),
        "set": gauge("weight_set_ratio", "The canary's share of the traffic as the route says it, 0 to 1."),
        "live": gauge("weight_live_ratio", "The canary's share that gateways have accepted, 0 to 1."),
        "step": gauge("step", "The step that a rollout is in, counted from 1; 0 outside of steps."),
        "started": gauge("step_started_timestamp_seconds", "When the weight of the present step was live; 0 if none."),
        "version": gauge("version", "Model version of each side.", "track"),
        "verdict": gauge("verdict", "1 for what a metric says now.", "metric", "verdict"),
    }


def _add(families: Mapping[str, GaugeMetricFamily], labels: list[str], status: JSON) -> None:
    rollout = status.get("rollout") or {}
    for phase in _PHASES:
        families["phase"].add_metric([*labels, phase], float(status.get("phase") == phase))
    for condition in status.get("conditions") or ():
        families["condition"].add_metric([*labels, condition["type"]], float(condition["status"] == "True"))
    families["set"].add_metric(labels, number(rollout.get("weightSet")) / 100)
    families["live"].add_metric(labels, number(rollout.get("weightLive")) / 100)
    families["step"].add_metric(labels, number(rollout.get("step")))
    families["started"].add_metric(labels, _seconds(rollout.get("stepStarted")))
    for track in ("stable", "canary"):
        if version := (status.get(track) or {}).get("version"):
            families["version"].add_metric([*labels, track], number(version))
    for judged in status.get("analysis") or ():
        families["verdict"].add_metric([*labels, judged["name"], judged["verdict"]], 1.0)


def number(value: Any) -> float:
    """Of a field that may be missing."""
    return float(value or 0)


def _seconds(stamp: str | None) -> float:
    return parse_time(stamp).timestamp() if stamp else 0.0


_HEADS = tuple(_text(_families()))
"""What a page says of each family before its lines; the same in all formats."""
