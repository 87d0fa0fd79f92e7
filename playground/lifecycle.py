"""Bringing a playground up and down, for the command line and the tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from playground import box
from playground.component import Binaries
from playground.control import NotUpError, ask
from playground.host import TAKEN
from playground.paths import PYTHONPATH
from playground.state import State, tail
from playground.toolchain import gobuild, venv
from playground.toolchain.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_POLL_SECONDS = 0.1
_DOWN_SECONDS = 40.0
_STARTED: list[subprocess.Popen[bytes]] = []
"""Hosts outlive the call that starts them; Python warns of a Popen that is dropped while its process runs."""


@atexit.register
def _let_go() -> None:
    """Python warns once more when it ends before them, as it should."""
    for host in _STARTED:
        host.returncode = host.returncode or 0


class UpError(Exception):
    """The playground did not come up; the message names what failed, with the end of its log."""


def binaries() -> Binaries:
    """The Go programs, built now if they are not in the cache."""
    python = venv.ensure()
    return Binaries(*(gobuild.ensure(program, python) for program in gobuild.PROGRAMS))


def up(state: State, *, operator: bool) -> dict[str, Any]:
    """Bring a playground up unless it is; returns playground.json's content once everything is ready.

    Raises:
        UpError: something failed; nothing is left running.
        BoxError: this machine does not let us have a box.
    """
    probe = state.try_lock()
    if probe is None:
        say(f"already up in {state.dir}")
        return _until_ready(state, None)
    probe.close()
    box.check()
    built = binaries()
    host = _start_host(state, built, operator=operator)
    try:
        return _until_ready(state, host)
    except BaseException:
        host.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(_DOWN_SECONDS)
        host.kill()
        raise


def down(state: State) -> bool:
    """End the playground and wait until nothing of it is left; False if none was up."""
    pid = state.read_info().get("pid")
    probe = state.try_lock()
    if probe is not None:
        probe.close()
        return False
    with contextlib.suppress(NotUpError):
        ask(state, "shutdown")
    deadline = time.monotonic() + _DOWN_SECONDS
    while (probe := state.try_lock()) is None:
        if time.monotonic() > deadline and pid:
            os.kill(pid, signal.SIGKILL)  # the box ends with it
        time.sleep(_POLL_SECONDS)
    probe.close()
    for host in _STARTED:
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(_POLL_SECONDS * 50)
    return True


def _start_host(state: State, built: Binaries, *, operator: bool) -> subprocess.Popen[bytes]:
    folders = (str(built.controlplane), str(built.envoy_gateway), str(built.prometheus))
    argv = [sys.executable, "-m", "playground.host", "--dir", str(state.dir), "--binaries", *folders]
    if not operator:
        argv.append("--no-operator")
    with state.host_log.open("wb") as log:
        host = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )
    _STARTED.append(host)
    return host


def _until_ready(state: State, host: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    shown: dict[str, str] = {}
    while True:
        if host is not None and host.poll() == TAKEN:
            host = None  # somebody else was quicker: wait for theirs
        if host is not None and host.poll() is not None:
            raise UpError(f"the playground ended with status {host.returncode}:\n{tail(state.host_log)}")
        try:
            answer = ask(state, "status")
        except NotUpError:
            time.sleep(_POLL_SECONDS)
            continue
        _show(answer["components"], shown)
        if answer["phase"] == "failed":
            raise UpError("\n".join(unit["message"] for unit in answer["components"] if unit["message"]))
        if answer["phase"] == "ready":
            return state.read_info()
        time.sleep(_POLL_SECONDS)


def _show(components: list[Mapping[str, str]], shown: dict[str, str]) -> None:
    """Print the components that have become ready since the last time."""
    for unit in components:
        if unit["phase"] == "ready" and shown.get(unit["name"]) != "ready":
            say(f"{unit['name']} is ready")
        shown[unit["name"]] = unit["phase"]


def log_file(state: State, name: str) -> Path:
    """The log of a component.

    Raises:
        NotUpError: there is none of that name; the message lists those that there are.
    """
    file = state.log(name)
    if not file.exists():
        there = ", ".join(sorted(path.stem for path in state.logs.glob("*.log"))) or "none at all"
        raise NotUpError(f"no log {name!r} in {state.logs}; there are: {there}")
    return file
