"""Counters and histograms under the names, labels, buckets and number format of the real server's Prometheus page."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_MICROSECONDS = [10 * 1.8**exponent for exponent in range(33)]
_COUNTS = [2.0**exponent for exponent in range(15)]

Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    counts: list[int]
    total: float = 0.0


@dataclass
class _Family:
    kind: str
    bounds: list[float] = field(default_factory=list)
    counters: dict[Labels, float] = field(default_factory=dict)
    histograms: dict[Labels, _Histogram] = field(default_factory=dict)

    def add(self, amount: float, **labels: str) -> None:
        key = tuple(labels.items())
        self.counters[key] = self.counters.get(key, 0) + amount

    def put(self, value: float, **labels: str) -> None:
        self.counters[tuple(labels.items())] = value

    def observe(self, value: float, **labels: str) -> None:
        key = tuple(labels.items())
        histogram = self.histograms.get(key)
        if histogram is None:
            histogram = self.histograms[key] = _Histogram([0] * (len(self.bounds) + 1))
        # A value at a bound belongs to the bucket above it, as in TensorFlow's own histograms.
        histogram.counts[bisect_right(self.bounds, value)] += 1
        histogram.total += value


class Metrics:
    """All families of one server. Times are in microseconds, as the real server has them."""

    def __init__(self) -> None:
        self._requests = _Family("counter")
        self._latency = _Family("histogram", _MICROSECONDS)
        self._runtime = _Family("histogram", _MICROSECONDS)
        self._examples_total = _Family("counter")
        self._examples = _Family("histogram", _COUNTS)
        self._load_attempts = _Family("counter")
        self._load_latency = _Family("counter")
        self._own = {"prediction_class_total": _Family("counter"), "gpu_memory_used_bytes": _Family("gauge")}
        serving, loading = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
        self._families = {
            f"{loading}load_attempt_count": self._load_attempts,
            f"{loading}load_latency": self._load_latency,
            f"{serving}request_count": self._requests,
            f"{serving}request_example_count_total": self._examples_total,
            f"{serving}request_example_counts": self._examples,
            f"{serving}request_latency": self._latency,
            f"{serving}request_log_count": _Family("counter"),
            f"{serving}runtime_latency": self._runtime,
        }

    def answered(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """Count an answer of any status; only OK ones have a latency."""
        self._requests.add(1, model_name=model, status=status)
        if status == "OK":
            self._latency.observe(seconds * 1e6, model_name=model, API=api, entrypoint=entrypoint)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """Record how long TensorFlow itself took."""
        self._runtime.observe(seconds * 1e6, model_name=model, API=api, runtime="TF1")

    def examples(self, model: str, count: int) -> None:
        """Count the examples of a classify or regress request."""
        self._examples_total.add(count, model=model)
        self._examples.observe(count, model=model)

    def loaded(self, path: str, status: str, seconds: float) -> None:
        """Count an attempt to load a version, `success` or `fail`."""
        self._load_attempts.add(1, model_path=path, status=status)
        if status == "success":
            self._load_latency.add(int(seconds * 1e6), model_path=path)

    def predicted(self, model: str, name: str) -> None:
        """Count a prediction of a class, as people's own counters do."""
        self._own["prediction_class_total"].add(1, model_name=model, **{"class": name})

    def takes(self, model: str, memory: float) -> None:
        """Set the GPU memory that a model takes, in bytes, as GPU exporters have it."""
        self._own["gpu_memory_used_bytes"].put(memory, model_name=model)

    def page(self) -> str:
        """The whole page: TYPE lines and samples, no HELP. What no TensorFlow Serving has is only there once used."""
        lines: list[str] = []
        used = {name: family for name, family in self._own.items() if family.counters}
        for name, family in (self._families | used).items():
            lines.append(f"# TYPE {name} {family.kind}")
            lines += [f"{name}{{{_text(labels)}}} {_number(value)}" for labels, value in family.counters.items()]
            for labels, histogram in family.histograms.items():
                lines += _histogram(name, _text(labels), family.bounds, histogram)
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: str, bounds: list[float], histogram: _Histogram) -> list[str]:
    lines, total = [], 0
    for bound, count in zip([*map(_number, bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
    return [*lines, f"{name}_sum{{{labels}}} {_number(histogram.total)}", f"{name}_count{{{labels}}} {total}"]


def _text(labels: Labels) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels)


def _number(value: float) -> str:
    """Integers in full, others with six significant digits, as absl::StrCat prints them."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
