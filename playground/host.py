"""The playground's one process outside the box: holds it, and relays 127.0.0.1 to it.

`up` starts it detached from the terminal. Its death, however it comes, ends the box: the supervisor notices the end
of its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playground import box, controlplane, relay
from playground.components import RELAYS
from playground.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAKEN = 75
"""Exit status when another playground has the state directory already."""
_LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 30.0


async def _hold(state: State, supervisor: Sequence[str]) -> int:
    """Run the box to its end; returns its exit status."""
    ports = {name: relay.port(await _offer(state, name)) for name in RELAYS}
    tokens = controlplane.write_tokens(state)
    controlplane.write_kubeconfigs(state, tokens)
    api = f"https://{_LOOPBACK}:{ports['api']}"
    controlplane.write_kubeconfig(state.host_kubeconfig, api, tokens[controlplane.ADMIN], state)
    child = await asyncio.create_subprocess_exec(*box.argv(supervisor), stdin=asyncio.subprocess.PIPE)
    _write_info(state, ports)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _close_input, child)
    try:
        status = await child.wait()
    finally:
        state.info.unlink(missing_ok=True)
    return status


async def _offer(state: State, name: str) -> asyncio.Server:
    return await relay.serve(relay.Tcp(_LOOPBACK, 0), relay.Unix(state.socket(name)))


def _close_input(child: asyncio.subprocess.Process) -> None:
    """Ask the box to end; if it does not, end it."""
    if child.stdin:
        child.stdin.close()
    asyncio.get_running_loop().call_later(_SHUTDOWN_SECONDS, child.kill)


def _write_info(state: State, ports: Mapping[str, int]) -> None:
    content = {
        "kubeconfig": str(state.host_kubeconfig),
        "api": f"https://{_LOOPBACK}:{ports['api']}",
        "gateway": f"{_LOOPBACK}:{ports['gateway']}",
        "prometheus": f"http://{_LOOPBACK}:{ports['prometheus']}",
        "pid": os.getpid(),
        "dir": str(state.dir),
        "logs": str(state.logs),
        "models": str(state.models),
    }
    draft = state.run / "playground.json"
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.rename(state.info)


def _fresh(state: State) -> None:
    """A new cluster begins empty; only the models stay."""
    for folder in (state.data, state.logs, state.kubeconfig("any").parent):
        shutil.rmtree(folder, ignore_errors=True)
    for file in state.run.glob("*.sock"):
        file.unlink()
    for folder in (state.data, state.logs, state.models):
        folder.mkdir(parents=True, exist_ok=True)


def main() -> int:
    """Hold a box until it ends or until told to end it."""
    parser = argparse.ArgumentParser(prog="python -m playground.host", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--binaries", type=Path, nargs=3, required=True, metavar="DIR")
    parser.add_argument("--no-operator", action="store_true")
    options = parser.parse_args()
    state = State(options.dir)
    lock = state.try_lock()
    if lock is None:
        print(f"another playground has {state.dir}", file=sys.stderr)
        return TAKEN
    _fresh(state)
    box.raise_limits()
    supervisor = [sys.executable, "-m", "playground.supervisor", *sys.argv[1:]]
    return asyncio.run(_hold(state, supervisor))


if __name__ == "__main__":
    sys.exit(main())
