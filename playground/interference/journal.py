"""What passed through a lane, a line of JSON each: written by the proxy, read by tests."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING

from playground.interference.rules import Request

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that has ended, or a watch that has begun.

    `time` is when it came, in seconds since the epoch; `status` what the asker got, 0 for nothing; `upstream` is `api`
    or `prometheus`; `did` names the interference: killed, dropped, answered, or empty.
    """

    time: float
    upstream: str
    method: str
    target: str
    status: int
    did: str = ""

    @property
    def kind(self) -> str:
        """Of what the request is about, as the API server's paths have it: `pods`, `modelrollouts/status`."""
        found = re.search(r"/namespaces/[^/]+/([a-z]+)(?:/[^/?]+)?(/status)?", self.target)
        return found[1] + (found[2] or "") if found else self.target

    @property
    def request(self) -> Request:
        """As rules see it, without its body."""
        return Request(self.method, self.target)


class Journal:
    """Appends entries to a file."""

    def __init__(self, file: Path) -> None:
        """The file is made with the first entry."""
        self._path = file
        self._file: IO[str] | None = None

    def add(self, entry: Entry) -> None:
        """Write one entry so that readers see it at once."""
        if self._file is None:
            self._file = self._path.open("a", buffering=1)
        self._file.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read_journal(file: Path) -> list[Entry]:
    """All entries so far; an unfinished last line is left out."""
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    return [Entry(**json.loads(line)) for line in lines if line.endswith("\n")]
