"""One rollout as a tree: what is going on and why, the two tracks with their pods, the verdicts, what comes next."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from modelrollout.cli.views.clock import ahead, done
from modelrollout.cli.views.words import age, at, colour, phase, span
from modelrollout.core.names import LABEL_TRACK
from modelrollout.core.values import JSON

_GUIDE = "bright_black"
_BAR = 30


@dataclass(frozen=True, slots=True)
class Sight:
    """One rollout with what belongs to it, as last seen.

    `versions` says per pod name what its model server answers, such as `102 AVAILABLE`; a pod that is missing there was
    not asked. `notes` are told at the end: what could not be read.
    """

    rollout: JSON
    deployments: tuple[JSON, ...] = ()
    pods: tuple[JSON, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def show(sight: Sight, now: datetime) -> RenderableType:
    """Everything about one rollout."""
    obj = sight.rollout
    tree = Tree(_title(obj), guide_style=_GUIDE)
    for track in ("stable", "canary"):
        _track(tree, sight, track, now)
    _verdicts(tree, at(obj, "status.analysis", ()))
    parts: list[RenderableType] = [tree]
    if at(obj, "status.rollout", None):
        parts.append(_ahead(obj, now))
    asked = at(obj, "status.lastRequest.answer")
    if asked:
        parts.append(Text.assemble(("last request  ", "dim"), asked))
    parts += [Text(note, "yellow") for note in sight.notes]
    return Group(*parts)


def _title(obj: JSON) -> Text:
    told = phase(obj)
    title = Text.assemble((at(obj, "metadata.name"), "bold"), "  ", (told, f"bold {colour(told)}"))
    if at(obj, "status.progress"):
        title.append(f"  {at(obj, 'status.progress')}")
    title.append(f"\n{at(obj, 'status.message', 'the operator has not looked at it yet')}")
    return title


def _track(tree: Tree, sight: Sight, track: str, now: datetime) -> None:
    obj = sight.rollout
    name = f"{at(obj, 'metadata.name')}-{track}"
    deployment = next((item for item in sight.deployments if at(item, "metadata.name") == name), None)
    pods = [pod for pod in sight.pods if at(pod, "metadata.labels", {}).get(LABEL_TRACK) == track]
    if deployment is None and not pods:
        return
    wanted, ready = at(deployment or {}, "spec.replicas", 0), at(deployment or {}, "status.readyReplicas", 0)
    label = Text.assemble(
        (f"{track}  ", "bold"), f"Deployment {name}  ", (f"{ready}/{wanted} ready", _all(ready, wanted))
    )
    version = at(obj, f"status.{track}.version")
    label.append(f"  version {version}" if version else "")
    label.append(_share(obj, track))
    branch = tree.add(label, guide_style=_GUIDE)
    for line in _pods(pods, sight.versions, now):
        branch.add(line)


def _share(obj: JSON, track: str) -> str:
    """What part of the traffic the route gives to a track, and what gateways have of it."""
    if not at(obj, "status.rollout", None):
        return "  100% of the traffic" if track == "stable" else ""
    set_, live = at(obj, "status.rollout.weightSet", 0), at(obj, "status.rollout.weightLive", 0)
    if track == "stable":
        set_, live = 100 - set_, 100 - live
    return f"  weight {set_}%" + (" live" if set_ == live else f" set, {live}% live")


def _pods(pods: Iterable[JSON], versions: Mapping[str, str], now: datetime) -> Iterator[Text]:
    """A line per pod, in columns; where it is narrow, what comes after the name goes on to the next line."""
    rows = []
    for pod in sorted(pods, key=lambda item: str(at(item, "metadata.name"))):
        name = at(pod, "metadata.name")
        rows.append((name, _state(pod), versions.get(name, ""), _gpu(pod), age(pod, now)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=True) if width]
        line = Text.assemble(cells[0], (cells[1], _all(row[1], "ready")), *cells[2:])
        line.rstrip()
        yield line


def _state(pod: JSON) -> str:
    """One word, or what the kubelet or the scheduler say."""
    if at(pod, "metadata.deletionTimestamp"):
        return "ending"
    conditions = {item["type"]: item for item in at(pod, "status.conditions", ())}
    if conditions.get("Ready", {}).get("status") == "True":
        return "ready"
    if conditions.get("PodScheduled", {}).get("status") == "False":
        return str(conditions["PodScheduled"].get("reason") or "not scheduled")
    containers = at(pod, "status.containerStatuses", ())
    waiting = next((reason for item in containers if (reason := at(item, "state.waiting.reason"))), "")
    restarts = sum(int(item.get("restartCount", 0)) for item in containers)
    return (waiting or "starting") + (f", {restarts} restarts" if restarts else "")


def _gpu(pod: JSON) -> str:
    limits: JSON = at(pod, "spec.containers", ({},))[0].get("resources", {}).get("limits", {})
    return ", ".join(f"{count} {name}" for name, count in limits.items() if name.startswith("nvidia.com/"))


def _verdicts(tree: Tree, judged: Iterable[JSON]) -> None:
    lines = [
        Text.assemble(
            f"{at(item, 'name')}  ", (at(item, "verdict"), colour(at(item, "verdict"))), f"  {_evidence(item)}"
        )
        for item in judged
    ]
    if lines:
        branch = tree.add(Text("verdicts", "bold"), guide_style=_GUIDE)
        for line in lines:
            branch.add(line)


def _evidence(item: JSON) -> str:
    """Both sides' numbers; the query is for `-o json`."""
    said = re.escape(str(at(item, "name")))
    return re.sub(rf"^{said}( [A-Z]+)?: ", "", str(at(item, "detail"))).split("; query ")[0]


def _ahead(obj: JSON, now: datetime) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    share = done(obj, now)
    row: list[RenderableType] = [ProgressBar(total=1.0, completed=share, width=_BAR), f"{share:.0%}"]
    following = ahead(obj, now)
    if following:
        row.append(Text.assemble(("next  ", "dim"), f"{following.what}{_when(following.left)}"))
    line.add_row(*row)
    return line


def _when(left: timedelta | None) -> str:
    if left is None:
        return ""
    return f" in {span(left)}" if left > timedelta() else " as soon as nothing stands against it"


def _all(have: object, wanted: object) -> str:
    return "green" if have == wanted else "yellow"
