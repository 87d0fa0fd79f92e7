"""The box: one unprivileged namespace (user, network, processes, mounts) that holds the whole playground.

Outside, playground/host.py starts argv() and `exec` uses enter(); inside, the supervisor calls set_up() first. The
death of the supervisor, process 1 in there, ends everything in the box.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from playground import netlink
from playground.state import socket_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playground.state import State

API_ADDRESS = "10.0.0.1"
"""Of the API server, the gateway and Prometheus. The API server refuses loopback addresses, its own and pods'."""
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"

_NAMESPACES = ("--user", "--map-root-user", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
_OWN = ("certs", "models")  # folders of the box's root that the host's root has no say in
# Folders in which pods may want mount points: real folders in the box whose entries are links to the host's, so that
# a new entry never reaches the host.
_LINKED = ("etc", "media", "mnt", "srv")
_HOST = ".host"
_REMEDY = """The playground needs a user namespace, and this system does not let {user} have one:
    {error}
Any of these helps:
  - run the same command with sudo
  - on Ubuntu 24.04 and newer: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
  - in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined
  - use kind instead, on a machine with Docker: make kind"""


class BoxError(Exception):
    """The box cannot be made or entered; the message tells the person what to do."""


def check() -> None:
    """Find out whether this machine lets us have a box.

    Raises:
        BoxError: it does not; the message has the remedies.
    """
    missing = [name for name in ("unshare", "nsenter", "mount") if not shutil.which(name)]
    if missing:
        raise BoxError(f"not on PATH: {', '.join(missing)}. On Debian and Ubuntu: apt install util-linux mount")
    tried = subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        user = "root" if os.geteuid() == 0 else "an ordinary user"
        raise BoxError(_REMEDY.format(user=user, error=tried.stderr.strip() or "no reason given"))


def argv(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as process 1 of a new box."""
    return ["unshare", *_NAMESPACES, "--", *command]


def enter(state: State, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in the running box, in the caller's working directory.

    Raises:
        BoxError: no box is running.
    """
    pid = str(_supervisor(state))
    inside = ["sh", "-c", 'cd "$0" 2>/dev/null || cd /; exec "$@"', str(Path.cwd()), *command]
    return ["nsenter", "-t", pid, "-U", "-n", "-p", "-m", "-r", "-w", "--preserve-credentials", "--", *inside]


def _supervisor(state: State) -> int:
    """The process id of the box's process 1 as seen from here: the kernel tells it with the control socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(socket_path(state.control))
        except OSError as error:
            raise BoxError(f"no playground is up in {state.dir}") from error
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def raise_limits() -> None:
    """Allow as many open files as this user may have; inside the box the limit cannot be raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def set_up(state: State) -> None:
    """Make the network and the root file system; called once, as process 1 of the new namespaces."""
    _network()
    root = state.run / "root"
    root.mkdir(exist_ok=True)
    _root(root, state)
    os.chroot(root)
    os.chdir("/")


def _network() -> None:
    """Any address of the pods' and services' ranges may be bound and reached: no bridge and no veth is needed."""
    netlink.loopback_up()
    netlink.add_address(API_ADDRESS)
    for network in (PODS, SERVICES):
        netlink.add_local_network(network)


def _root(root: Path, state: State) -> None:
    _do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root))
    for entry in sorted(Path("/").iterdir()):
        made = root / entry.name
        if entry.is_symlink():
            made.symlink_to(entry.readlink())
        elif entry.name in _LINKED and entry.is_dir():
            _link_farm(root, entry)
        elif entry.is_dir() and entry.name not in _OWN:
            made.mkdir()
            _do("mount", "--rbind", str(entry), str(made))
    for name in _OWN:
        (root / name).mkdir()
    _do("mount", "--bind", str(state.models), str(root / "models"))
    if (root / "dev" / "shm").is_dir():
        # Envoy's shared memory has a fixed name: with the host's, two boxes would meet there.
        _do("mount", "-t", "tmpfs", "tmpfs", str(root / "dev" / "shm"))


def _link_farm(root: Path, folder: Path) -> None:
    behind = root / _HOST / folder.name
    behind.mkdir(parents=True)
    _do("mount", "--rbind", str(folder), str(behind))
    made = root / folder.name
    made.mkdir()
    for entry in folder.iterdir():
        (made / entry.name).symlink_to(f"/{_HOST}/{folder.name}/{entry.name}")


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BoxError(f"{' '.join(command)}: {done.stderr.strip()}")
