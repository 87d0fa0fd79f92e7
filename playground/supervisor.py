"""Process 1 of the box: makes the box, starts the components, names what dies, obeys the control socket.

Started by playground/host.py, whose end of standard input tells it to end too: nothing outlives the host process.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground import box, controlplane
from playground.component import Binaries, Surroundings
from playground.components import all_components
from playground.paths import PYTHONPATH, libtensorflow_dir
from playground.processes import Processes
from playground.state import State, socket_path
from playground.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from playground.component import Component


class Supervisor:
    """All units of the box."""

    def __init__(self, components: Sequence[Component], around: Surroundings) -> None:
        self._changed = asyncio.Event()
        self._units = {c.name: Unit(c, around, self._changed) for c in components}
        self._settled = False
        self.ended = asyncio.Event()

    async def start_all(self) -> None:
        """Start every unit as soon as what it needs is ready."""
        await asyncio.gather(*(self._start_in_turn(unit) for unit in self._units.values()))
        self._settled = True

    async def stop_all(self) -> None:
        """Stop everything, what was started last first."""
        for unit in reversed(list(self._units.values())):
            await unit.stop()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of the control socket."""
        line = await reader.readline()
        if line:  # `exec` only connects to learn our process id
            request = json.loads(line)
            answer = await self._obey(request["command"], request.get("name", ""))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _obey(self, command: str, name: str) -> dict[str, Any]:
        if command == "status":
            return {"ok": True, "phase": self._phase(), "components": self._reports()}
        if command == "shutdown":
            self.ended.set()
            return {"ok": True}
        unit = self._units.get(name)
        if unit is None:
            return {"ok": False, "error": f"no component {name!r}; there are {', '.join(self._units)}"}
        if command == "stop":
            await unit.stop()
            return {"ok": True}
        if command == "start":
            return {"ok": await unit.start(), "error": unit.report.message}
        if command == "kill":
            return {"ok": unit.kill(), "error": f"{name} is not running"}
        return {"ok": False, "error": f"no command {command!r}"}

    def _phase(self) -> str:
        """`failed` once something is dead or failed, `ready` once all was ready, else `starting`."""
        phases = {unit.report.phase for unit in self._units.values()}
        if phases & {"dead", "failed"}:
            return "failed"
        return "ready" if self._settled else "starting"

    def _reports(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(unit.report) for unit in self._units.values()]

    async def _start_in_turn(self, unit: Unit) -> None:
        for need in unit.component.needs:
            await self._units[need].ready.wait()
        await unit.start()


def environment(state: State, binaries: Binaries) -> dict[str, str]:
    """What every process in the box has in its environment."""
    folders = [str(Path(sys.executable).parent), str(binaries.controlplane), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "PATH": ":".join(folders),
        "PYTHONPATH": PYTHONPATH,
        "PYTHONUNBUFFERED": "1",
        "PLAYGROUND_DIR": str(state.dir),
        "PLAYGROUND_LIBTENSORFLOW": str(libtensorflow_dir()),
        "KUBECONFIG": str(state.kubeconfig(controlplane.ADMIN)),
    }


async def _supervise(state: State, binaries: Binaries, *, operator: bool, env: Mapping[str, str]) -> None:
    token = controlplane.read_token(state, controlplane.ADMIN)
    around = Surroundings(state, binaries, env, Processes(), token)
    supervisor = Supervisor(all_components(state, binaries, operator=operator), around)
    server = await asyncio.start_unix_server(supervisor.serve, socket_path(state.control))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, supervisor.ended.set)
    loop.add_signal_handler(signal.SIGINT, supervisor.ended.set)
    loop.add_reader(sys.stdin.fileno(), _on_input, supervisor.ended)
    starting = loop.create_task(supervisor.start_all())
    await supervisor.ended.wait()
    starting.cancel()
    await supervisor.stop_all()
    server.close()


def _on_input(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        ended.set()


def main() -> int:
    """Set up the box and supervise until told to end."""
    parser = argparse.ArgumentParser(prog="python -m playground.supervisor", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--binaries", type=Path, nargs=3, required=True, metavar="DIR")
    parser.add_argument("--no-operator", action="store_true")
    options = parser.parse_args()
    state, binaries = State(options.dir), Binaries(*options.binaries)
    try:
        box.set_up(state)
    except box.BoxError as error:
        print(error, file=sys.stderr)
        return 1
    env = environment(state, binaries)
    os.environ.update(env)
    asyncio.run(_supervise(state, binaries, operator=not options.no_operator, env=env))
    return 0


if __name__ == "__main__":
    sys.exit(main())
