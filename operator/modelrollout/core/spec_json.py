"""`spec` from the JSON that the API server stores. What the schema cannot refuse is refused here, with the field."""

import re
from typing import Any

from modelrollout.core.spec import (
    DEFAULT_METRICS,
    WARMUP,
    Analysis,
    Gpu,
    InvalidSpec,
    Limits,
    Method,
    Metric,
    MetricKind,
    MetricTest,
    Policy,
    Serving,
    Spec,
    Step,
    Strategy,
    Suspicion,
    Traffic,
)
from modelrollout.core.values import JSON, parse_decimal, parse_duration

MANUAL = "Manual"
"""Value of a step's `approval` with which it waits for somebody."""


def parse_spec(raw: JSON, name: str) -> Spec:
    """`spec` of the object called `name`. Raises InvalidSpec with the field and the reason."""
    try:
        return _spec(raw, name)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidSpec(f"spec cannot be read: {type(error).__name__} {error}; apply the current CRD") from error
    except ValueError as error:
        raise InvalidSpec(f"spec cannot be read: {error}") from error


def _spec(raw: JSON, name: str) -> Spec:
    model = raw["model"]
    return Spec(
        model_name=model.get("name") or name,
        base_path=model["basePath"].rstrip("/"),
        version=model["version"],
        serving=parse_serving(raw["serving"]),
        traffic=_traffic(raw["traffic"]["gatewayAPI"]),
        strategy=_strategy(raw["strategy"]),
        analysis=_analysis(raw["analysis"]) if "analysis" in raw else None,
        history_limit=raw.get("historyLimit", 10),
        paused=raw.get("paused", False),
    )


def parse_serving(raw: JSON) -> Serving:
    """`spec.serving`, also as it stands in a stored revision (which has no replicas)."""
    gpu = raw.get("gpu")
    return Serving(
        image=raw["image"],
        replicas=raw.get("replicas", 1),
        gpu=Gpu(gpu["resource"], gpu.get("count", 1)) if gpu else None,
        mount_path=raw.get("mountPath", "/models"),
        storage=raw.get("storage"),
        resources=raw.get("resources", {}),
        extra_args=tuple(raw.get("extraArgs", ())),
        env=tuple(raw.get("env", ())),
        pod=raw.get("pod", {}),
    )


def _traffic(raw: JSON) -> Traffic:
    return Traffic(
        parent_refs=tuple(raw["parentRefs"]),
        hostnames=tuple(raw.get("hostnames", ())),
        protocols=tuple(raw.get("protocols", ("REST", "GRPC"))),
        grpc_headers=tuple(raw.get("grpcHeaders", ())),
        timeouts=raw.get("timeouts"),
        filters=tuple(raw.get("filters", ())),
        labels=raw.get("labels", {}),
        annotations=raw.get("annotations", {}),
    )


def _strategy(raw: JSON) -> Strategy:
    return Strategy(
        steps=tuple(parse_step(step) for step in raw["steps"]),
        method=Method(raw.get("promotion", {}).get("method", "Reload")),
        max_parallel=_max_parallel(raw.get("promotion", {}).get("maxParallel", 1)),
        canary_ready_deadline=parse_duration(raw.get("canaryReadyDeadline", "10m")),
        drain=parse_duration(raw.get("drainDuration", "30s")),
        bake=parse_duration(raw.get("bake", {}).get("duration", "10m")),
        fast_path=raw.get("rollback", {}).get("fastPathRevisions", 3),
        retain=parse_duration(raw.get("rollback", {}).get("retainCanaryFor", "0s")),
    )


def parse_step(raw: JSON) -> Step:
    """One step, of `spec` or frozen in `status`."""
    duration = parse_duration(raw["duration"])
    longest = parse_duration(raw["maxDuration"]) if "maxDuration" in raw else 3 * duration
    return Step(raw["weight"], duration, longest, raw.get("replicas"), raw.get("approval") == MANUAL)


def _max_parallel(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(r"[1-9][0-9]?%|100%", value):
        raise ValueError(
            f'strategy.promotion.maxParallel: {value!r} is neither a number nor a percentage such as "25%"'
        )
    return value


def _analysis(raw: JSON) -> Analysis:
    metrics = tuple(_metric(metric) for metric in raw.get("metrics", ()))
    suspicion, baseline = raw.get("suspicionDuration", "5m"), raw.get("baselineDuration", "10m")
    return Analysis(
        address=raw["prometheus"]["address"],
        timeout=parse_duration(raw["prometheus"].get("timeout", "5s")),
        interval=parse_duration(raw.get("interval", "10s")),
        metrics=metrics or DEFAULT_METRICS,
        baseline=parse_duration(baseline),
        suspicion=parse_duration(suspicion),
        alerts=tuple(item["matchLabels"] for item in raw.get("alerts", ())),
    )


def _metric(raw: JSON) -> Metric:
    given: dict[str, Any] = {
        "query": raw.get("query"),
        "failures": raw.get("failures"),
        "min_requests": raw.get("minRequests"),
        "window": _optional(parse_duration, raw.get("window")),
        "quantile": _optional(parse_decimal, raw.get("quantile")),
        "deadline": _optional(parse_duration, raw.get("deadline")),
        "on_no_data": _optional(Policy, raw.get("onNoData")),
        "on_error": _optional(Policy, raw.get("onError")),
        "on_low_traffic": _optional(Policy, raw.get("onLowTraffic")),
        "on_inconclusive": _optional(Policy, raw.get("onInconclusive")),
        "on_suspicion": _optional(Suspicion, raw.get("onSuspicion")),
        "require_pass": raw.get("requirePass"),
        "warmup": _optional(parse_duration, raw.get("warmup")),
    }
    limits, kind, test = raw.get("limits", {}), MetricKind(raw["kind"]), _test(raw)
    if kind is MetricKind.LATENCY and test is MetricTest.SEQUENTIAL and given["warmup"] is None:
        given["warmup"] = WARMUP
    return Metric(
        name=raw["name"],
        kind=kind,
        test=test,
        limits=Limits(
            max=_optional(parse_decimal, limits.get("max")),
            min=_optional(parse_decimal, limits.get("min")),
            max_ratio_to_stable=_optional(parse_decimal, limits.get("maxRatioToStable")),
            max_if_stable_zero=_optional(parse_decimal, limits.get("maxIfStableZero")),
            max_drop_from_stable=_optional(parse_decimal, limits.get("maxDropFromStable")),
            max_growth_per_minute=_optional(parse_decimal, limits.get("maxGrowthPerMinute")),
        ),
        **{key: value for key, value in given.items() if value is not None},
    )


def _test(raw: JSON) -> MetricTest:
    """The test of a metric: the one it names; without a name limits that compare with stable say which."""
    if "test" in raw:
        return MetricTest(raw["test"])
    if raw["kind"] == MetricKind.GAUGE:
        return MetricTest.SEQUENTIAL
    limited = {"maxRatioToStable", "maxIfStableZero", "maxDropFromStable"} & raw.get("limits", {}).keys()
    return MetricTest.LIMITS if limited or raw["kind"] == MetricKind.QUERY else MetricTest.SEQUENTIAL


def _optional(read: Any, value: Any) -> Any:
    return None if value is None else read(value)
