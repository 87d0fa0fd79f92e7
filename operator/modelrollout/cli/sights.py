"""Reads what belongs to one rollout: its Deployments, its pods, and what each pod's model server says about itself."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from modelrollout.cli.cluster import Cluster
from modelrollout.cli.errors import Failure
from modelrollout.cli.feed import Want
from modelrollout.cli.views.tree import Sight
from modelrollout.cli.views.words import at
from modelrollout.core.names import LABEL_ROLLOUT, REST_PORT
from modelrollout.core.values import JSON

_OVER = "END"
_AT_ONCE = 8


def belongings(name: str) -> tuple[Want, Want]:
    """Deployments and pods of a rollout."""
    selector = f"{LABEL_ROLLOUT}={name}"
    return Want("deployments.apps", selector=selector), Want("pods", selector=selector)


def look(cluster: Cluster, rollout: JSON) -> Sight:
    """Everything, read once. What may not be read is noted and left out."""
    deployments, pods = belongings(rollout["metadata"]["name"])
    notes: list[str] = []
    found = [_items(cluster, want, notes) for want in (deployments, pods)]
    return Sight(rollout, found[0], found[1], versions(cluster, rollout, found[1], notes), tuple(notes))


def versions(cluster: Cluster, rollout: JSON, pods: Iterable[JSON], notes: list[str]) -> Mapping[str, str]:
    """What each running model server answers about its versions, through the API server's proxy to the pod.

    A server that does not answer is left out. That the right to `pods/proxy` is missing is noted.
    """
    model = at(rollout, "spec.model.name") or rollout["metadata"]["name"]
    running = [pod["metadata"] for pod in pods if _is_running(pod)]
    with ThreadPoolExecutor(_AT_ONCE) as asking:
        answers = list(asking.map(lambda pod: _ask(cluster, pod["namespace"], pod["name"], model), running))
    if any(isinstance(answer, Failure) and "forbidden" in answer.message for answer in answers):
        notes.append("model versions per pod are not shown: that needs the right to get pods/proxy")
    told = zip(running, answers, strict=True)
    return {pod["name"]: answer for pod, answer in told if isinstance(answer, str)}


def _is_running(pod: JSON) -> bool:
    return at(pod, "status.phase") == "Running" and not at(pod, "metadata.deletionTimestamp")


def _ask(cluster: Cluster, namespace: str, pod: str, model: str) -> str | Failure:
    try:
        answer = cluster.read(f"/api/v1/namespaces/{namespace}/pods/{pod}:{REST_PORT}/proxy/v1/models/{model}")
    except Failure as failure:
        return failure
    return _states(answer)


def _items(cluster: Cluster, want: Want, notes: list[str]) -> tuple[JSON, ...]:
    try:
        return tuple(cluster.get(want.kind, want.name, want.selector)["items"])
    except Failure as failure:
        notes.append(failure.message.splitlines()[0])
        return ()


def _states(answer: JSON) -> str:
    """`101 AVAILABLE, 102 LOADING`; versions that are gone are not worth a word."""
    states = [(int(item["version"]), item["state"]) for item in answer.get("model_version_status", ())]
    return ", ".join(f"{version} {state}" for version, state in sorted(states) if state != _OVER)
