"""Every reason that conditions, events, the history and rejections give: stable words that people and tools match on.

One CamelCase word each, told apart by what comes of it. Nothing else in the product makes one up.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where an object is, for people: `status.phase`, and the reason of Ready, Progressing and Reconciling."""

    PENDING = "Pending"
    INITIALIZING = "Initializing"
    HEALTHY = "Healthy"
    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    BAKING = "Baking"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """The word in `reason` of a condition, an event, an entry of the history."""

    # What conditions say beside the phase
    SERVING = "Serving"
    NO_READY_PODS = "NoReadyPods"
    NOT_PAUSED = "NotPaused"
    SPEC_PAUSED = "SpecPaused"
    PAUSE_REQUESTED = "PauseRequested"
    NOT_RUNNING = "NotRunning"
    INSUFFICIENT_GPU = "InsufficientGPU"
    ANALYSIS_SUSPECT = "AnalysisSuspect"

    # What only somebody else can mend: Stalled
    INVALID_SPEC = "InvalidSpec"
    REVISION_LOST = "RevisionLost"
    NAME_TAKEN = "NameTaken"
    ROUTE_CONFLICT = "RouteConflict"
    WRITE_REFUSED = "WriteRefused"
    ROUTE_CONTESTED = "RouteContested"
    CHILD_CONTESTED = "ChildContested"
    NO_MEMORY_FOR_TWO_VERSIONS = "NoMemoryForTwoVersions"

    # Why a rollout is taken back
    ABORTED = "Aborted"
    ABORT_REQUESTED = "AbortRequested"
    ALERT_FIRING = "AlertFiring"
    ANALYSIS_FAILED = "AnalysisFailed"
    ANALYSIS_NO_DATA = "AnalysisNoData"
    ANALYSIS_ERROR = "AnalysisError"
    ANALYSIS_AMBIGUOUS = "AnalysisAmbiguous"
    ANALYSIS_LOW_TRAFFIC = "AnalysisLowTraffic"
    ANALYSIS_INCONCLUSIVE = "AnalysisInconclusive"
    CANARY_NOT_READY = "CanaryNotReady"
    CANARY_UNAVAILABLE = "CanaryUnavailable"
    PROMOTION_LOAD_FAILED = "PromotionLoadFailed"

    # Why it is over otherwise
    INITIALIZED = "Initialized"
    PROMOTED = "Promoted"
    UNDONE = "Undone"
    SPEC_RETURNED = "SpecReturned"
    NEW_REVISION = "NewRevision"

    # What happened: events alone
    ROLLOUT_STARTED = "RolloutStarted"
    GPU_CAPACITY_INSUFFICIENT = "GPUCapacityInsufficient"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    CANARY_READY = "CanaryReady"
    WEIGHT_SET = "WeightSet"
    WEIGHT_LIVE = "WeightLive"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    REQUEST_DONE = "RequestDone"
    REQUEST_DECLINED = "RequestDeclined"
    SUSPECTED = "Suspected"
    SUSPICION_DROPPED = "SuspicionDropped"
    CANARY_POD_REPLACED = "CanaryPodReplaced"
    STABLE_POD_ODD = "StablePodOdd"
    ANALYSIS_PASSED = "AnalysisPassed"
    STEPS_PASSED = "StepsPassed"
    BAKE_STARTED = "BakeStarted"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"
    ROUTE_OVERWRITTEN = "RouteOverwritten"
    CHILD_OVERWRITTEN = "ChildOverwritten"


ABORTS = frozenset(
    {
        Reason.ABORTED,
        Reason.ABORT_REQUESTED,
        Reason.ALERT_FIRING,
        Reason.ANALYSIS_FAILED,
        Reason.ANALYSIS_NO_DATA,
        Reason.ANALYSIS_ERROR,
        Reason.ANALYSIS_AMBIGUOUS,
        Reason.ANALYSIS_LOW_TRAFFIC,
        Reason.ANALYSIS_INCONCLUSIVE,
        Reason.CANARY_NOT_READY,
        Reason.CANARY_UNAVAILABLE,
        Reason.NO_MEMORY_FOR_TWO_VERSIONS,
        Reason.PROMOTION_LOAD_FAILED,
    }
)
"""Why a version is taken back against the wish of whoever wrote it into spec."""

STALLS = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.REVISION_LOST,
        Reason.NAME_TAKEN,
        Reason.ROUTE_CONFLICT,
        Reason.WRITE_REFUSED,
        Reason.ROUTE_CONTESTED,
        Reason.CHILD_CONTESTED,
    }
)
"""What keeps an object from going on until somebody else mends it."""
