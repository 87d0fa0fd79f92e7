"""The playground's state directory: which file lies where. Shared by the command line, the host process and the box."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_DIR = REPOSITORY / ".playground"
_LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes


@dataclass(frozen=True)
class State:
    """Paths under one state directory; everything but `models` is made anew by each `up`."""

    dir: Path

    @property
    def models(self) -> Path:
        """Model versions; seen as /models inside the box. Kept from one `up` to the next."""
        return self.dir / "models"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.dir / "logs"

    @property
    def run(self) -> Path:
        """Sockets, the lock, the mount point of the box's root file system."""
        return self.dir / "run"

    @property
    def data(self) -> Path:
        """The components' own files."""
        return self.dir / "data"

    @property
    def info(self) -> Path:
        """playground.json: addresses and process id, for tests and scripts."""
        return self.dir / "playground.json"

    @property
    def host_log(self) -> Path:
        """What the host process and the supervisor print: nothing, unless something is wrong."""
        return self.dir / "host.log"

    @property
    def control(self) -> Path:
        """The supervisor's control socket."""
        return self.run / "control.sock"

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.logs / f"{name}.log"

    def socket(self, name: str) -> Path:
        """The socket at which the box offers `api`, `gateway` or `prometheus` to the host."""
        return self.run / f"{name}.sock"

    def kubeconfig(self, identity: str) -> Path:
        """The kubeconfig of one identity for use inside the box."""
        return self.dir / "kubeconfigs" / identity

    @property
    def host_kubeconfig(self) -> Path:
        """The administrator's kubeconfig for use from the host."""
        return self.dir / "kubeconfig"

    def read_info(self) -> dict[str, Any]:
        """Return playground.json's content; empty if there is none."""
        try:
            content: dict[str, Any] = json.loads(self.info.read_text())
        except FileNotFoundError:
            return {}
        return content

    def try_lock(self) -> IO[str] | None:
        """Take the directory for a running playground; None when one has it already.

        The lock lasts as long as a process has the file open that comes back.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        handle = (self.run / "lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        return handle


def socket_path(path: Path) -> str:
    """A name for a unix socket that fits into the kernel's limit however deep its directory lies.

    For a long path the directory is opened and stays so: the descriptor is part of the name.
    """
    if len(os.fsencode(path)) < _LONGEST_SOCKET_PATH:
        return str(path)
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}"


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, or a remark that there are none."""
    try:
        content = path.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        content = []
    return "\n".join(f"    {line}" for line in content) or f"    (nothing in {path.name})"
