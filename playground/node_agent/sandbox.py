"""One pod's surroundings: its address, volumes and values, and what of them a container's process is
started with.

Made by :mod:`playground.node_agent.pods`; :mod:`playground.node_agent.containers` asks it for a plan at
every start.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from playground.node_agent.env import ConfigError, arguments, environment, references
from playground.node_agent.images import program
from playground.node_agent.mounts import Bind, Volume, binds
from playground.node_agent.process import Plan, StartError, start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playground.node_agent.events import Events
    from playground.node_agent.model import JsonObject, NodeSpec, Settings
    from playground.node_agent.objects import Objects

_INHERITED = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "TMPDIR")
_TERMINATION_LOG = "/dev/termination-log"


@dataclass
class Sandbox:
    """What the containers of one pod share. `pod` and `volumes` are set anew by the owner."""

    settings: Settings
    node: NodeSpec
    objects: Objects
    events: Events
    pod: JsonObject
    ip: str
    volumes: dict[str, Volume] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """``<namespace>_<name>``, the name of the pod's directory of logs."""
        return f"{self.pod['metadata']['namespace']}_{self.pod['metadata']['name']}"

    @property
    def directory(self) -> Path:
        """Where everything of this pod but its logs lies; gone when the pod has gone."""
        return self.settings.state / "run" / str(self.pod["metadata"]["uid"])

    def work(self, container: str) -> Path:
        """The directory for a container's own files."""
        return self.directory / "containers" / container

    def log(self, container: str) -> Path:
        """The file that a container's output goes to; it outlives the pod."""
        return self.settings.state / "pods" / self.title / f"{container}.log"

    async def plan(self, container: JsonObject) -> Plan:
        """What to run for `container`, with the values of this moment.

        Raises:
            ConfigError: something that it refers to does not exist.
        """
        values = await self._values(container)
        command = arguments(container.get("command", []), values)
        args = arguments(container.get("args", []), values)
        argv, first = program(container["image"], command, args, values)
        env = outside(os.environ) | values | {"POD_IP": self.ip, "HOSTNAME": self.pod["metadata"]["name"]}
        if first:
            env["PLAYGROUND_PID1"] = "1"
        return Plan(argv, env, container.get("workingDir", "/"), self._binds(container, values))

    async def execute(self, container: JsonObject, command: list[str]) -> tuple[int, str]:
        """Runs `command` as if inside `container`; its exit code (126: it could not run) and the last of its output."""
        self.work(container["name"]).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="exec-", dir=self.work(container["name"])) as place:
            try:
                plan = replace(await self.plan(container), argv=command)
                process = await start(plan, Path(place), Path(place, "output"))
            except (ConfigError, StartError) as problem:
                return 126, str(problem)
            try:
                ended = await process.wait()
            finally:
                process.kill()
            return ended.code, process.output().decode(errors="replace")

    def termination_log(self, container: JsonObject) -> Path:
        """The file behind the container's ``terminationMessagePath``."""
        return self.work(container["name"]) / "termination-log"

    async def _values(self, container: JsonObject) -> dict[str, str]:
        namespace = self.pod["metadata"]["namespace"]
        found = {(kind, name): await self.objects.fetch(kind, namespace, name) for kind, name in references(container)}
        addresses = {"podIP": self.ip, "hostIP": self.node.host_ip}
        pod = self.pod | {"status": self.pod.get("status", {}) | addresses}
        return environment(container, pod, lambda kind, name: found[kind, name])

    def _binds(self, container: JsonObject, values: Mapping[str, str]) -> list[Bind]:
        message = self.termination_log(container)
        message.parent.mkdir(parents=True, exist_ok=True)
        message.touch()
        found = [
            *binds(container, self.volumes, values),
            Bind(message, container.get("terminationMessagePath", _TERMINATION_LOG)),
        ]
        for bind in found:
            if not bind.source.exists() and not bind.read_only:
                bind.source.mkdir(parents=True)  # a subPath that nobody has made yet
        return found


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """What a container gets of the agent's own environment `environ`: enough to start our programs.

    Python's search path is made absolute, because the container has another working directory.
    """
    kept = {key: value for key, value in environ.items() if key in _INHERITED or key.startswith("PLAYGROUND_")}
    if "PYTHONPATH" in environ:
        folders = environ["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders)
    return kept
