"""The box as an ordinary user has it: playground/box.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from playground import box
from playground.control import NotUpError, ask
from playground.paths import REPOSITORY
from playground.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSIDE = """
import socket, sys
from pathlib import Path
from playground import box
from playground.state import State
box.set_up(State(Path(sys.argv[1])))
with socket.create_server(("10.244.3.7", 8500)) as server, socket.create_connection(("10.244.3.7", 8500)) as client:
    print("pod", client.getpeername()[0])
Path("/etc/from-the-box").touch()
Path("/certs/tls.crt").touch()
print("models", [entry.name for entry in Path("/models").iterdir()])
print("processes", [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()])
"""
_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user may read, with a copy of the package."""
    made = Path(tempfile.mkdtemp(prefix="playground-box-"))
    made.chmod(0o755)
    shutil.copytree(REPOSITORY / "playground", made / "playground", ignore=shutil.ignore_patterns("go", "models*"))
    yield made
    shutil.rmtree(made)


def _ordinary_user() -> tuple[list[str], str]:
    """How to become an ordinary user, and an interpreter which that user may run.

    Empty for one who is no root to begin with, and where root has the only interpreter.
    """
    mine = shutil.which("python3") or "python3"
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", mine):
        runs = [*_NOBODY, candidate, "-c", ""]
        if os.geteuid() == 0 and subprocess.run(runs, check=False, capture_output=True).returncode == 0:
            return list(_NOBODY), candidate
    return [], mine


def test_an_ordinary_user_gets_a_box_of_their_own(folder: Path) -> None:
    """Pod addresses work, /models is the state's, new files in /etc stay inside, and no other process is seen."""
    state = State(folder / "state")
    (state.models / "recsys").mkdir(parents=True)
    state.run.mkdir()
    become, python = _ordinary_user()
    if become:
        for path in (state.dir, state.models, state.run):
            os.chown(path, 65534, 65534)
    script = folder / "inside.py"
    script.write_text(_INSIDE)
    done = subprocess.run(
        [*become, *box.argv([python, str(script), str(state.dir)])],
        cwd=folder,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "PYTHONPATH": str(folder), "HOME": "/"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["pod 10.244.3.7", "models ['recsys']", "processes ['1']"], done.stderr
    assert not Path("/etc/from-the-box").exists()
    assert not (Path("/certs") / "tls.crt").exists()


def test_a_playground_that_is_not_up_is_said_to_be_not_up(tmp_path: Path) -> None:
    """Asking or entering without a playground is an error with the directory in its message."""
    with pytest.raises(NotUpError, match=f"no playground is up in {tmp_path}"):
        ask(State(tmp_path), "status")
    with pytest.raises(box.BoxError, match=f"no playground is up in {tmp_path}"):
        box.enter(State(tmp_path), ["true"])
