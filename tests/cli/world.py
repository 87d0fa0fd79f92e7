"""A cluster that exists in memory alone, and commands run in it: what the tests of the command line share."""

from __future__ import annotations

import queue
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from modelrollout.cli.app import cli
from modelrollout.cli.errors import Failure, NotFound
from modelrollout.cli.flags import Surroundings
from tests.gitops.argo import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from modelrollout.cli.cluster import Access
    from modelrollout.core.values import JSON

ROLLOUTS = "modelrollouts.modelrollout.io"
_END: tuple[str, Any] = ("END", None)


class MemoryChanges:
    """Objects as they are, then what is put in."""

    def __init__(self, objects: list[JSON]) -> None:
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        for obj in objects:
            self.put("ADDED", obj)

    def put(self, kind: str, obj: JSON) -> None:
        """One more change."""
        self._queue.put((kind, obj))

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        while (change := self._queue.get()) is not _END:
            yield change

    def close(self) -> None:
        """End it."""
        self._queue.put(_END)


@dataclass
class MemoryCluster:
    """Objects by kind. `asked` has every request, `answer` is what the operator makes of one."""

    objects: dict[str, list[Any]] = field(default_factory=dict)
    answer: Callable[[str], str | None] = lambda token: f"{token.split(':')[0]}: done"
    servers: dict[str, JSON] = field(default_factory=dict)
    access: Access | None = None
    away: bool = False
    asked: list[str] = field(default_factory=list)
    dry_runs: list[str] = field(default_factory=list)
    streams: list[tuple[str, MemoryChanges]] = field(default_factory=list)

    def get(self, kind: str, name: str = "", selector: str = "") -> JSON:
        """See Cluster."""
        found = [item for item in self.objects.get(kind, []) if _selected(item, selector)]
        if not name:
            return {"kind": "List", "items": found}
        named = (item for item in found if item["metadata"]["name"] == name)
        obj: JSON | None = next(named, None)
        if obj is None:
            raise NotFound(f'{kind} "{name}" not found')
        return obj

    def read(self, path: str) -> JSON:
        """See Cluster."""
        pod = path.split("/pods/")[1].split(":", maxsplit=1)[0]
        if pod not in self.servers:
            raise Failure("pods is forbidden: cannot get resource pods/proxy")
        return self.servers[pod]

    def ask(self, name: str, token: str) -> None:
        """See Cluster: the operator answers at once, if it answers."""
        self.asked.append(token)
        obj = deepcopy(self.get(ROLLOUTS, name))
        answer = self.answer(token)
        if answer is not None:
            self.change({**obj, "status": {**obj["status"], "lastRequest": {"token": token, "answer": answer}}})

    def dry_run(self, manifest: str) -> str:
        """See Cluster."""
        self.dry_runs.append(manifest)
        return "ok"

    def changes(self, kind: str, name: str = "", selector: str = "") -> MemoryChanges:
        """See Cluster."""
        if self.away:
            raise Failure("The connection to the server was refused")
        found = [self.get(kind, name)] if name else self.get(kind, "", selector)["items"]
        stream = MemoryChanges(list(found))
        self.streams.append((kind, stream))
        return stream

    def change(self, obj: JSON) -> None:
        """A rollout has changed."""
        mine = self.objects[ROLLOUTS]
        mine[:] = [obj if item["metadata"]["name"] == obj["metadata"]["name"] else item for item in mine]
        for kind, stream in self.streams:
            if kind == ROLLOUTS:
                stream.put("MODIFIED", obj)


def holding(*names: str) -> MemoryCluster:
    """A cluster with the rollouts of these phases."""
    return MemoryCluster({ROLLOUTS: [phase(name) for name in names]})


def at(text: str) -> Callable[[], datetime]:
    """A clock that stands still."""
    return lambda: datetime.fromisoformat(text).replace(tzinfo=UTC)


def run(cluster: MemoryCluster, *arguments: str, width: int | None = None, given: str | None = None) -> Result:
    """Run a command as people do, in this cluster, a minute after the phases were exported."""

    def connect(access: Access) -> MemoryCluster:
        cluster.access = access
        return cluster

    world = replace(Surroundings(connect=connect, now=lambda: NOW), width=width)
    return CliRunner().invoke(cli, list(arguments), obj=world, input=given, prog_name="kubectl modelrollout")


NOW = max(datetime.fromisoformat(entry["ended"]) for entry in phase("good-healthy")["status"]["history"])


def _selected(item: JSON, selector: str) -> bool:
    if not selector:
        return True
    key, _, value = selector.partition("=")
    return bool(item["metadata"].get("labels", {}).get(key) == value)
