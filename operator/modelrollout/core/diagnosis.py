"""Why a model server did not come up, in the words of whoever knows best: server, container, kubelet, scheduler."""

from modelrollout.core.snapshot import Pod

_FATAL = "Failed to start server"
"""TensorFlow Serving begins its last message with this; what follows may have several lines."""


def server_words(pods: tuple[Pod, ...], version: int, wanted: str) -> str:
    """Why pods did not become ready with a version; `wanted` is the directory that their servers look for."""
    for pod in pods:
        if pod.report is not None and pod.report.failure(version):
            return f"{pod.name}: {pod.report.failure(version)}"
    for pod in pods:
        if pod.exit is not None:
            return f"{pod.name} exited with code {pod.exit.exit_code}: {last_words(pod.exit.message)}"
        if pod.waiting:
            return f"{pod.name}: {pod.waiting}"
        if pod.unschedulable:
            return f"{pod.name} cannot be scheduled: {pod.unschedulable}"
    never = f"the model server never opened its ports: it waits for {wanted}"
    return never if pods else "no pod was made; kubectl describe its ReplicaSet says why (a quota?)"


def last_words(text: str) -> str:
    """What a server said last: its fatal message to the end, else the last line that says something; at most 512."""
    fatal = text.rfind(_FATAL)
    lines = [line.strip() for line in text[max(fatal, 0) :].splitlines() if line.strip()]
    if not lines:
        return "no message"
    return (" ".join(lines) if fatal >= 0 else lines[-1])[:512]
