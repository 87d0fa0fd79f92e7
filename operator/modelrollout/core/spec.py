"""`spec` of a ModelRollout as frozen values. The schema has checked the shape; what it cannot say is checked here.

`parse_spec` is the only reader of the raw `spec`. Defaults that the schema sets are repeated here, so that an object
stored before a default existed reads the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from math import ceil

from modelrollout.core.values import JSON


class InvalidSpec(ValueError):
    """`spec` cannot be acted on; the message says every problem with its path."""


class MetricKind(StrEnum):
    """What a metric measures."""

    ERROR_RATE = "ErrorRate"
    LATENCY = "Latency"
    DISTRIBUTION = "Distribution"
    GAUGE = "Gauge"
    QUERY = "Query"


class Method(StrEnum):
    """How stable pods get a new revision: their servers load it, or the pods are replaced."""

    RELOAD = "Reload"
    ROLL = "Roll"


class Policy(StrEnum):
    """What to do when a metric gives no verdict: stay, go on at the step's end, or take the version back."""

    HOLD = "Hold"
    ADVANCE = "Advance"
    ABORT = "Abort"


class MetricTest(StrEnum):
    """How a metric's numbers are judged: against limits, or against what stable does at the same time."""

    LIMITS = "Limits"
    SEQUENTIAL = "Sequential"


class Suspicion(StrEnum):
    """What to do when a metric suspects the canary: back to the first step's weight, out of the traffic for a minute
    and then back with next to nothing, stay, or only say so.
    """

    STEP_BACK = "StepBack"
    STEP_OUT = "StepOut"
    HOLD = "Hold"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Gpu:
    """Extended resource of each pod, request and limit alike."""

    resource: str
    count: int


@dataclass(frozen=True, slots=True)
class Serving:
    """How model servers run. Everything but `replicas` shapes pods and belongs to the revision."""

    image: str
    replicas: int
    gpu: Gpu | None
    mount_path: str
    storage: JSON | None
    resources: JSON
    extra_args: tuple[str, ...]
    env: tuple[JSON, ...]
    pod: JSON


@dataclass(frozen=True, slots=True)
class Step:
    """A state of the rollout: this share of the traffic, for at least this long. Weight in percent.

    A `manual` one is judged like any other, and then left only when somebody says so.
    """

    weight: int
    duration: timedelta
    max_duration: timedelta
    replicas: int | None = None
    manual: bool = False

    def canary_replicas(self, stable_replicas: int) -> int:
        """Canary pods that carry the step's share, one at least."""
        return self.replicas or max(1, ceil(stable_replicas * self.weight / 100))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a metric; None is not checked. Latency in seconds; ratios are canary over stable.

    `max_growth_per_minute` is for a gauge of a canary pod, in its own unit.
    """

    max: float | None = None
    min: float | None = None
    max_ratio_to_stable: float | None = None
    max_if_stable_zero: float | None = None
    max_drop_from_stable: float | None = None
    max_growth_per_minute: float | None = None

    @property
    def compares(self) -> bool:
        """Whether the stable side's value is needed."""
        return self.max_ratio_to_stable is not None or self.max_drop_from_stable is not None

    @property
    def absolute(self) -> bool:
        """Whether there is a bound that needs no stable side."""
        return self.max is not None or self.min is not None


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is judged, and what its missing verdicts mean."""

    name: str
    kind: MetricKind
    limits: Limits
    query: str | None = None
    window: timedelta = timedelta(minutes=1)
    quantile: float = 0.99
    failures: int = 2
    min_requests: int = 50
    deadline: timedelta | None = None
    on_no_data: Policy = Policy.HOLD
    on_error: Policy = Policy.HOLD
    on_low_traffic: Policy = Policy.ADVANCE
    on_inconclusive: Policy = Policy.ADVANCE
    on_suspicion: Suspicion = Suspicion.STEP_BACK
    require_pass: bool = False
    warmup: timedelta = timedelta()
    test: MetricTest = MetricTest.LIMITS


@dataclass(frozen=True, slots=True)
class Analysis:
    """Where measurements come from, how often, and what is judged.

    `baseline` is how far back stable is looked at before the canary gets traffic; `suspicion` how long a suspicion
    that is not confirmed holds a rollout up. `alerts` are labels of alerts that take a canary back while they fire.
    """

    address: str
    timeout: timedelta
    interval: timedelta
    metrics: tuple[Metric, ...]
    baseline: timedelta = timedelta(minutes=10)
    suspicion: timedelta = timedelta(minutes=5)
    alerts: tuple[Mapping[str, str], ...] = ()

    @property
    def sequential(self) -> tuple[Metric, ...]:
        """The metrics that are judged against what stable does at the same time."""
        return tuple(metric for metric in self.metrics if metric.test is MetricTest.SEQUENTIAL)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The route to write (Gateway API). `raw` keeps the parts that are passed through unread."""

    parent_refs: tuple[JSON, ...]
    hostnames: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("REST", "GRPC")
    grpc_headers: tuple[JSON, ...] = ()
    timeouts: JSON | None = None
    filters: tuple[JSON, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a new version goes out. `fast_path` is to how many promoted revisions one may go back without steps;
    `retain` how long a rejected canary is kept.
    """

    steps: tuple[Step, ...]
    method: Method
    max_parallel: int | str
    canary_ready_deadline: timedelta
    drain: timedelta
    bake: timedelta
    fast_path: int
    retain: timedelta = timedelta()

    def parallel(self, replicas: int) -> int:
        """Stable pods that may change at the same time during a promotion; a percentage rounds down, one at least."""
        if isinstance(self.max_parallel, int):
            return self.max_parallel
        return max(1, replicas * int(self.max_parallel.removesuffix("%")) // 100)


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole wish of the user. `paused` stops a rollout where it is, and keeps the next one from starting."""

    model_name: str
    base_path: str
    version: int
    serving: Serving
    traffic: Traffic
    strategy: Strategy
    analysis: Analysis | None
    history_limit: int
    paused: bool = False


WARMUP = timedelta(seconds=30)
"""So long after its first answer a server's times say nothing of it: first requests compile and fill caches."""
DEFAULT_METRICS = (
    Metric("error-rate", MetricKind.ERROR_RATE, Limits(), test=MetricTest.SEQUENTIAL),
    Metric("latency", MetricKind.LATENCY, Limits(), test=MetricTest.SEQUENTIAL, warmup=WARMUP),
)
"""What `analysis` without metrics judges (docs/design.md, "Analysis")."""
