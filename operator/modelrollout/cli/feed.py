"""Objects that a command looks at for longer, kept up to date by one watch per kind."""

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from modelrollout.cli.cluster import Changes, Cluster
from modelrollout.cli.errors import Failure, NotFound
from modelrollout.core.values import JSON

_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Want:
    """Which objects of a kind: one by name, or those that a label selector leaves."""

    kind: str
    name: str = ""
    selector: str = ""


@dataclass(frozen=True, slots=True)
class _Change:
    """What a watch has to say: an object, that it begins anew (no object), or that it was refused."""

    want: Want
    type: str = ""
    obj: JSON | None = None
    failure: Failure | None = None


class Feed:
    """While the block lasts: what the cluster has of each kind. All methods are for one thread."""

    def __init__(self, cluster: Cluster, *wants: Want) -> None:
        """Begin to watch on entering the block."""
        self._cluster, self._wants = cluster, wants
        self._changes: queue.SimpleQueue[_Change] = queue.SimpleQueue()
        self._objects: dict[Want, dict[tuple[str, str], JSON]] = {want: {} for want in wants}
        self._open: dict[Want, Changes] = {}
        self._over = threading.Event()
        self.failures: dict[Want, Failure] = {}

    def __enter__(self) -> Self:
        """Start one thread per kind: kubectl's output is read as it comes."""
        for want in self._wants:
            threading.Thread(target=self._follow, args=(want,), name=f"watch {want.kind}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every watch."""
        self._over.set()
        for changes in tuple(self._open.values()):
            changes.close()

    def wait(self, seconds: float) -> bool:
        """Take in what has changed; waits until something does, but not longer than that. False when nothing did."""
        try:
            self._take(self._changes.get(timeout=max(0.0, seconds)))
        except queue.Empty:
            return False
        while not self._changes.empty():
            self._take(self._changes.get_nowait())
        return True

    def objects(self, want: Want) -> Mapping[tuple[str, str], JSON]:
        """By namespace and name."""
        return self._objects[want]

    def _take(self, change: _Change) -> None:
        mine = self._objects[change.want]
        if change.failure is not None:
            self.failures[change.want] = change.failure
        elif change.obj is None:
            mine.clear()
        else:
            self.failures.pop(change.want, None)
            metadata = change.obj["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if change.type == "DELETED":
                self._deleted(change.want, key)
            else:
                mine[key] = change.obj

    def _deleted(self, want: Want, key: tuple[str, str]) -> None:
        self._objects[want].pop(key, None)
        if want.name:
            self.failures[want] = NotFound(f"{want.name} was deleted")

    def _follow(self, want: Want) -> None:
        """Watch, and again whenever it ends: the API server ends watches now and then.

        What was seen stays until there is something newer: an API server that is away empties no picture.
        """
        stale = False
        while not self._over.is_set():
            try:
                changes = self._open[want] = self._cluster.changes(want.kind, want.name, want.selector)
                for kind, obj in changes:
                    if stale:
                        self._changes.put(_Change(want))
                        stale = False
                    self._changes.put(_Change(want, kind, obj))
            except Failure as failure:
                self._changes.put(_Change(want, failure=failure))
            stale = True
            self._over.wait(_AGAIN_SECONDS)
