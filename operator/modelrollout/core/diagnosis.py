"""Why a model server did not come up, in the words of whoever knows best: server, container, kubelet, scheduler."""

from collections.abc import Iterable
from datetime import datetime

from modelrollout.core.pods import SHOWS
from modelrollout.core.snapshot import Pod

_FATAL = "Failed to start server"
"""TensorFlow Serving begins its last message with this; what follows may have several lines."""


def server_words(pods: tuple[Pod, ...], version: int, wanted: str) -> str:
    """Why pods did not become ready with a version; `wanted` is the directory that their servers look for."""
    if not pods:
        return "no pod was made; kubectl describe its ReplicaSet says why (a quota?)"
    for pod in pods:
        if pod.report is not None and pod.report.failure(version):
            return f"{pod.name}: {pod.report.failure(version)}"
    said = (words for find in (_container_words, _call_words) for pod in pods if (words := find(pod)))
    if words := next(said, ""):
        return words
    late = next((pod for pod in pods if pod.ready and pod.report), None)
    if late is not None:
        return _told_words(late)
    return f"the model server never opened its ports: it waits for {wanted}"


def _container_words(pod: Pod) -> str:
    if pod.exit is not None:
        return f"{pod.name} exited with code {pod.exit.exit_code}: {last_words(pod.exit.message)}"
    if pod.waiting:
        return f"{pod.name}: {pod.waiting}"
    return f"{pod.name} cannot be scheduled: {pod.unschedulable}" if pod.unschedulable else ""


def stuck_words(pods: Iterable[Pod], now: datetime) -> str:
    """Why model servers do not come to what they were told, empty while they may still be on their way."""
    return "; ".join(filter(None, (_call_words(pod) or _late_words(pod, now) for pod in pods)))


def _late_words(pod: Pod, now: datetime) -> str:
    call, report = pod.server.reload, pod.report
    if call is None or call.over is None or report is None or now - call.over < SHOWS:
        return ""
    return "" if report.active == set(call.target.versions) else _told_words(pod)


def _told_words(pod: Pod) -> str:
    return f"{pod.name} was told what to load and has {sorted(pod.report.active) if pod.report else []}"


def _call_words(pod: Pod) -> str:
    """What went wrong when the pod's model server was asked or told something last, empty for nothing."""
    if pod.ready and pod.server.error:
        return f"{pod.name} is ready but does not answer over gRPC: {pod.server.error}"
    call = pod.server.reload
    if call is None or not call.error:
        return ""
    hint = "; its server is wedged, delete the pod" if call.unanswered else ""
    return f"{pod.name} was told what to load: {call.error}{hint}"


def last_words(text: str) -> str:
    """What a server said last: its fatal message to the end, else the last line that says something; at most 512."""
    fatal = text.rfind(_FATAL)
    lines = [line.strip() for line in text[max(fatal, 0) :].splitlines() if line.strip()]
    if not lines:
        return "no message"
    return (" ".join(lines) if fatal >= 0 else lines[-1])[:512]
