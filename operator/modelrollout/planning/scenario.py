"""Scenarios: what users and versions do, written down in YAML (docs/planning.md). Pure; `simulate` plays them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from jsonschema import Draft202012Validator

from modelrollout.core.values import JSON, parse_duration
from modelrollout.planning.answers import Behaviour


class InvalidScenario(ValueError):
    """A scenario cannot be read; the message says every problem with its path."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests per second, which swing up and down by a share within `period` seconds."""

    rate: float
    swing: float = 0.0
    period: float = 3600.0


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from `begins` on (seconds after the rollout began), compared with the stable version.

    `errors` is the whole share of bad answers; where it is None they are `ratio` times stable's.
    """

    begins: float = 0.0
    errors: float | None = None
    ratio: float = 1.0
    slower: float = 1.0
    tail: float = 0.0
    tail_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class OddPod:
    """One pod of a side that is worse than the others, whatever version it has: a broken GPU, say."""

    pod: str
    change: Change
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """Errors come in bursts (times `factor` for `length` seconds, `every` so often on average) and vary by `jitter`.

    `jitter` is the coefficient of variation from one look to the next. With `common` both sides have it at once.
    """

    factor: float = 1.0
    length: float = 30.0
    every: float = 600.0
    jitter: float = 0.0
    common: bool = False


@dataclass(frozen=True, slots=True)
class Away:
    """Prometheus does not answer from `begins` on for so many seconds."""

    begins: float
    length: float


@dataclass(frozen=True, slots=True)
class Values:
    """What a query gives for each version: a number, or a gauge of each pod.

    A gauge varies by `jitter` (coefficient of variation, each pod by itself) and grows on the new version by `growth`
    a minute.
    """

    stable: float
    canary: float
    jitter: float = 0.0
    growth: float = 0.0


@dataclass(frozen=True, slots=True)
class Predictions:
    """How often each version predicts each class, as shares of its good answers."""

    stable: Mapping[str, float]
    canary: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it. `queries` are the values of Query and Gauge metrics, `predictions` those of Distribution metrics.

    `until` ends the simulation (seconds). `loads` is whether model servers can load the new version.
    """

    description: str
    traffic: Traffic
    stable: Behaviour = field(default_factory=Behaviour)
    canary: tuple[Change, ...] = ()
    pods: tuple[OddPod, ...] = ()
    noise: Noise = field(default_factory=Noise)
    away: tuple[Away, ...] = ()
    queries: Mapping[str, Values] = field(default_factory=dict)
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    seed: int = 1
    until: float | None = None
    loads: bool = True


_DURATION = {"type": "string", "pattern": r"^([0-9]{1,5}(h|ms|m|s))+$"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_FACTOR = {"type": "number", "exclusiveMinimum": 0}


def _object(required: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


_POD = {"type": "string", "pattern": r"^(stable|canary)-[0-9]+$"}
_CHANGE: dict[str, Any] = {
    "from": _DURATION,
    "errorRate": _SHARE,
    "errorRatio": _FACTOR,
    "slower": _FACTOR,
    "slowShare": _SHARE,
    "slowFactor": _FACTOR,
}
_CLASSES: dict[str, Any] = {"type": "object", "additionalProperties": _FACTOR, "minProperties": 2}
SCHEMA = _object(
    ["description", "traffic"],
    description={"type": "string"},
    traffic=_object(["answersPerSecond"], answersPerSecond=_FACTOR, swing=_SHARE, period=_DURATION),
    stable=_object(errorRate=_SHARE, latency=_DURATION, spread={"type": "number", "minimum": 0}),
    canary={"type": "array", "items": _object(**_CHANGE)},
    pods={
        "type": "array",
        "items": _object(["pod"], pod=_POD, until=_DURATION, **_CHANGE),
    },
    noise=_object(
        burst=_object(factor=_FACTOR, length=_DURATION, every=_DURATION),
        jitter={"type": "number", "minimum": 0},
        common={"type": "boolean"},
    ),
    prometheusAway={"type": "array", "items": _object(["from", "for"], **{"from": _DURATION, "for": _DURATION})},
    queries={
        "type": "object",
        "additionalProperties": _object(
            ["stable", "canary"],
            **{key: {"type": "number"} for key in ("stable", "canary", "growthPerMinute")},
            jitter={"type": "number", "minimum": 0},
        ),
    },
    predictions={
        "type": "object",
        "additionalProperties": _object(["stable", "canary"], stable=_CLASSES, canary=_CLASSES),
    },
    loads={"type": "boolean"},
    seed={"type": "integer"},
    until=_DURATION,
)  # fmt: skip


def parse_scenario(raw: Any) -> Scenario:
    """A scenario from its YAML. Raises InvalidScenario."""
    errors = sorted(Draft202012Validator(SCHEMA).iter_errors(raw), key=lambda error: error.json_path)
    if errors:
        lines = (f"{error.json_path.removeprefix('$').lstrip('.') or 'scenario'}: {error.message}" for error in errors)
        raise InvalidScenario("\n".join(lines))
    return Scenario(
        description=raw["description"],
        traffic=_traffic(raw["traffic"]),
        stable=_stable(raw.get("stable", {})),
        canary=tuple(sorted((_change(item) for item in raw.get("canary", ())), key=lambda change: change.begins)),
        pods=tuple(_odd(item) for item in raw.get("pods", ())),
        noise=_noise(raw.get("noise", {})),
        away=tuple(Away(_seconds(item["from"]), _seconds(item["for"])) for item in raw.get("prometheusAway", ())),
        queries={name: _values(item) for name, item in raw.get("queries", {}).items()},
        predictions={name: _predictions(item) for name, item in raw.get("predictions", {}).items()},
        seed=raw.get("seed", 1),
        until=_seconds(raw["until"]) if "until" in raw else None,
        loads=raw.get("loads", True),
    )


def _traffic(raw: JSON) -> Traffic:
    return Traffic(raw["answersPerSecond"], raw.get("swing", 0.0), _seconds(raw.get("period", "1h")))


def _stable(raw: JSON) -> Behaviour:
    return Behaviour(raw.get("errorRate", 0.0), _seconds(raw.get("latency", "20ms")), raw.get("spread", 0.5))


def _values(raw: JSON) -> Values:
    return Values(raw["stable"], raw["canary"], raw.get("jitter", 0.0), raw.get("growthPerMinute", 0.0))


def _predictions(raw: JSON) -> Predictions:
    return Predictions(_shares(raw["stable"]), _shares(raw["canary"]))


def _shares(raw: JSON) -> dict[str, float]:
    """Weights as shares of one."""
    return {name: weight / sum(raw.values()) for name, weight in raw.items()}


def _noise(raw: JSON) -> Noise:
    burst = raw.get("burst", {})
    return Noise(
        factor=burst.get("factor", 1.0),
        length=_seconds(burst.get("length", "30s")),
        every=_seconds(burst.get("every", "10m")),
        jitter=raw.get("jitter", 0.0),
        common=raw.get("common", False),
    )


def _change(raw: JSON) -> Change:
    return Change(
        begins=_seconds(raw.get("from", "0s")),
        errors=raw.get("errorRate"),
        ratio=raw.get("errorRatio", 1.0),
        slower=raw.get("slower", 1.0),
        tail=raw.get("slowShare", 0.0),
        tail_factor=raw.get("slowFactor", 1.0),
    )


def _odd(raw: JSON) -> OddPod:
    return OddPod(raw["pod"], _change(raw), _seconds(raw["until"]) if "until" in raw else None)


def _seconds(text: str) -> float:
    return parse_duration(text) / timedelta(seconds=1)
