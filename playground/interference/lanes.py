"""The host's side: starts the program in the box, writes lanes' rules and reads their journals. Used by tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from playground import box, controlplane, lifecycle, monitoring, operator_pod
from playground.interference.journal import Entry, read_journal
from playground.interference.rules import OBJECT_WRITES, WRITES, Rule, dump
from playground.supervisor import environment

if TYPE_CHECKING:
    from pathlib import Path

    from playground.state import State

_POLL_SECONDS = 0.05


class Interference:
    """The program while the block lasts; lanes can be made at any time."""

    def __init__(self, state: State, folder: Path) -> None:
        """`folder` is for the lanes' files and must be one that the box sees, too."""
        self.state = state
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [
            sys.executable, "-m", "playground.interference", "--dir", str(self.folder),
            "--upstream", f"api={controlplane.API_URL}",
            "--upstream", f"prometheus=http://{box.API_ADDRESS}:{monitoring.PORT}",
            "--ca", str(self.state.data / "certificates" / "apiserver.crt"),
        ]  # fmt: skip
        env = environment(self.state, lifecycle.binaries())
        log = (self.folder / "log").open("wb")
        with log:
            self._process = subprocess.Popen(
                box.enter(self.state, argv), env=env, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        while not (self.folder / "port").exists():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(_POLL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def lane(self, name: str) -> Lane:
        """A way through that is called `name`, for one operator or one object's queries."""
        address = f"http://127.0.0.1:{(self.folder / 'port').read_text()}"
        made = Lane(name, self.folder, f"{address}/api/{name}", f"{address}/prometheus/{name}")
        controlplane.write_kubeconfig(made.kubeconfig, made.api, operator_pod.token(self.state), self.state)
        return made


@dataclass(frozen=True)
class Lane:
    """One way through. `api` and `prometheus` are its addresses inside the box."""

    name: str
    folder: Path
    api: str
    prometheus: str

    @property
    def kubeconfig(self) -> Path:
        """Leads an operator through this lane, with the playground operator's own rights."""
        return self.folder / f"{self.name}.kubeconfig"

    @property
    def pid(self) -> Path:
        """Holds the id of the lane's process, as the box counts them."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """What the lane's process prints."""
        return self.folder / f"{self.name}.log"

    def obey(self, *rules: Rule) -> None:
        """Let these rules, and no others, hold from the next request on; their counts start anew."""
        scratch = self.folder / f"{self.name}.new"
        scratch.write_text(dump(rules))
        scratch.rename(self.folder / f"{self.name}.rules")

    def journal(self) -> list[Entry]:
        """Everything that has passed."""
        return read_journal(self.folder / f"{self.name}.journal")

    def did(self, what: str) -> list[Entry]:
        """Where there was this interference: killed, dropped or answered."""
        return [entry for entry in self.journal() if entry.did == what]

    def writes(self) -> list[Entry]:
        """Writes of objects, events left out."""
        rule = Rule(method=WRITES, target=OBJECT_WRITES)
        return [entry for entry in self.journal() if entry.upstream == "api" and rule.matches(entry.request)]

    def written(self, since: float) -> Counter[str]:
        """How many writes of each kind came after a moment, events included; leases, which are no news, left out."""
        rule = Rule(method=WRITES, target=r"^(?!.*/leases)")
        entries = (entry for entry in self.journal() if entry.upstream == "api" and entry.time > since)
        return Counter(entry.kind for entry in entries if rule.matches(entry.request))
