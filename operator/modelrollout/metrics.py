"""The operator's own metrics, in one registry: counters that other modules raise, and what the rollouts' status says.

Served by `health`. Labels are few and bounded: no revision, no message and no pod is ever one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from modelrollout import __version__
from modelrollout.core.analysis import Verdict
from modelrollout.core.names import LABEL_ROLLOUT, LABEL_TRACK
from modelrollout.core.status import Outcome
from modelrollout.core.values import JSON
from modelrollout.resources import PLURALS, plural_of
from modelrollout.statuses import OBJECT, Statuses, number

REGISTRY = CollectorRegistry()
"""All of it. Module-wide, as the process is one operator."""

PASSES = Counter("modelrollout_passes", "Passes over a ModelRollout, by how they ended.", ["result"], registry=REGISTRY)
PASS_SECONDS = Histogram(
    "modelrollout_pass_duration_seconds",
    "How long a pass took.",
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REQUESTS = Counter(
    "modelrollout_api_requests",
    "Requests to the API server, by HTTP method, resource and class of the answer (none: there was none).",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
STATUS_WRITES = Counter("modelrollout_status_writes", "Writes of a status.", ["result"], registry=REGISTRY)
REPAIRS = Counter("modelrollout_repairs", "Children that somebody else changed.", ["kind"], registry=REGISTRY)
ENDED = Counter("modelrollout_rollouts_ended", "Rollouts that came to an end.", ["outcome"], registry=REGISTRY)
QUERIES = Counter("modelrollout_metric_queries", "Queries to Prometheus, by result.", ["result"], registry=REGISTRY)
RELOADS = Counter(
    "modelrollout_reload_calls", "Reload calls to model servers, by result.", ["result"], registry=REGISTRY
)
NOTIFICATIONS = Counter(
    "modelrollout_notifications", "Notices to people: taken, given up, or without room.", ["result"], registry=REGISTRY
)
VERDICTS = Counter(
    "modelrollout_verdicts",
    "Measurements of the rollouts under way, by verdict.",
    ["namespace", "name", "metric", "verdict"],
    registry=REGISTRY,
)
WATCH_RESTARTS = Counter(
    "modelrollout_watch_restarts", "Times that the watches had to be started anew.", registry=REGISTRY
)
QUEUE = Gauge("modelrollout_queue_depth", "ModelRollouts that wait for a pass.", registry=REGISTRY)
READY = Gauge("modelrollout_ready", "1 once every kind has been listed.", registry=REGISTRY)
LEADER = Gauge("modelrollout_leader", "1 while this process is the one that acts.", registry=REGISTRY)
_BUILD = Gauge(
    "modelrollout_build_info", "Always 1; the label says which version runs.", ["version"], registry=REGISTRY
)

_VALUES: Mapping[Counter, tuple[str, ...]] = {
    PASSES: ("ok", "conflict", "unavailable", "defect"),
    STATUS_WRITES: ("ok", "conflict", "error"),
    REPAIRS: ("ConfigMap", "ControllerRevision", "Deployment", "HTTPRoute", "Service"),
    ENDED: tuple(outcome.value for outcome in Outcome),
    QUERIES: ("ok", "error"),
    RELOADS: ("ok", "refused", "unanswered"),
    NOTIFICATIONS: ("sent", "failed", "dropped"),
}
"""Every label value that there can be, so that each series is there, at 0, from the start."""

_METHODS = ("GET", "POST", "PATCH", "DELETE")
_ANSWERS = ("2xx", "3xx", "4xx", "5xx", "none")
_NO_RESOURCE = "none"

_GPU_VENDOR = "nvidia.com/"
_STATUSES = Statuses()
_END = b"# EOF\n"
"""Of a page in the OpenMetrics format."""


def initialise(rollouts: Callable[[], Iterable[JSON]], deployments: Callable[[], Iterable[JSON]] = tuple) -> None:
    """Make every series, and from now on those of the given ModelRollouts and their Deployments.

    Called once, by `process`.
    """
    # They double the samples, and say what the process' own start says.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    for counter, values in _VALUES.items():
        for value in values:
            counter.labels(value)
    for labels in product(_METHODS, (*PLURALS, _NO_RESOURCE), _ANSWERS):
        REQUESTS.labels(*labels)
    _BUILD.labels(__version__).set(1)
    _STATUSES.source = rollouts
    REGISTRY.register(GpuCollector(deployments))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=REGISTRY)


@contextmanager
def counted(counter: Counter) -> Iterator[None]:
    """Count what is inside as `ok`, or as `error` when it raises."""
    try:
        yield
    except Exception:
        counter.labels("error").inc()
        raise
    counter.labels("ok").inc()


def count_request(method: str, path: str, status: int | None) -> None:
    """Count a request to the API server; without a status nothing was answered."""
    REQUESTS.labels(method, plural_of(path) or _NO_RESOURCE, f"{status // 100}xx" if status else "none").inc()


class VerdictCounts:
    """The verdicts on one object. Its series are there, at 0, from the first measurement until `forget`."""

    def __init__(self, namespace: str, name: str) -> None:
        """Nothing is counted yet."""
        self._object = (namespace, name)
        self._metrics: set[str] = set()

    def count(self, verdicts: Mapping[str, Verdict]) -> None:
        """One round: what each metric said."""
        for metric, said in verdicts.items():
            if metric not in self._metrics:
                self._metrics.add(metric)
                for verdict in Verdict:
                    VERDICTS.labels(*self._object, metric, verdict)
            VERDICTS.labels(*self._object, metric, said).inc()

    def forget(self) -> None:
        """The rollout is over or the object is gone."""
        for metric in self._metrics:
            for verdict in Verdict:
                VERDICTS.remove(*self._object, metric, verdict)
        self._metrics.clear()


@dataclass(frozen=True, slots=True)
class Page:
    """Everything as of one moment, to be written down in any thread."""

    families: tuple[Metric, ...]
    rollouts: tuple[JSON, ...]

    def collect(self) -> Iterable[Metric]:
        """As they were; what encoders ask for."""
        return self.families


def collected() -> Page:
    """What there is to be told now. Belongs to the main loop."""
    return Page(tuple(REGISTRY.collect()), tuple(_STATUSES.source()))


def exposition(accept: str, page: Page) -> tuple[bytes, str]:
    """The metrics in the format that the header `Accept` asks for, and that format's content type."""
    encode, content_type = choose_encoder(accept)
    body = encode(page)
    ended = body.endswith(_END)
    return body.removesuffix(_END) + _STATUSES.text(page.rollouts) + (_END if ended else b""), content_type


class GpuCollector(Collector):
    """The GPUs, or slices of them, that the pods of each side hold, as their Deployments have them."""

    def __init__(self, deployments: Callable[[], Iterable[JSON]]) -> None:
        """`deployments` gives them as they are now: none in a standby."""
        self._deployments = deployments

    def describe(self) -> Iterable[Metric]:
        """The name alone."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """One family."""
        family = self._family()
        for deployment in self._deployments():
            metadata, pods = deployment["metadata"], number((deployment.get("status") or {}).get("replicas"))
            own = metadata.get("labels") or {}
            labels = [metadata["namespace"], own.get(LABEL_ROLLOUT, ""), own.get(LABEL_TRACK, "")]
            for resource, count in _gpus(deployment):
                family.add_metric([*labels, resource], pods * count)
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        labels = (*OBJECT, "track", "resource")
        return GaugeMetricFamily("modelrollout_gpus", "GPUs or slices that the pods of a side hold.", labels=labels)


def _gpus(deployment: JSON) -> Iterator[tuple[str, int]]:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for resource, count in ((container.get("resources") or {}).get("limits") or {}).items():
            if resource.startswith(_GPU_VENDOR):
                yield resource, int(count)
