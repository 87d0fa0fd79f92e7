"""What a container sees where: its ``volumeMounts`` as binds of directories on this machine.

Pure; called by :mod:`playground.node_agent.sandbox`, carried out by :mod:`playground.node_agent.launch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from playground.node_agent.env import ConfigError, expand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playground.node_agent.model import JsonObject


@dataclass(frozen=True)
class Volume:
    """A volume that lies ready: where, and whether its kind can be written at all."""

    path: Path
    read_only: bool = False


@dataclass(frozen=True)
class Bind:
    """`source` appears at the absolute path `target`; both are directories, or both are files."""

    source: Path
    target: str
    read_only: bool = False


def binds(container: JsonObject, volumes: Mapping[str, Volume], env: Mapping[str, str]) -> tuple[Bind, ...]:
    """The binds of `container`, outer directories before what lies in them.

    Raises:
        ConfigError: a volume is unknown, or a ``subPath`` leads out of its volume.
    """
    found = (_bind(mount, volumes, env) for mount in container.get("volumeMounts", []))
    return tuple(sorted(found, key=lambda bind: bind.target.rstrip("/").split("/")))


def _bind(mount: JsonObject, volumes: Mapping[str, Volume], env: Mapping[str, str]) -> Bind:
    volume = volumes.get(mount["name"])
    if volume is None:
        raise ConfigError(f'volume "{mount["name"]}" is not known')
    below = mount.get("subPath") or expand(mount.get("subPathExpr", ""), env)
    if Path(below).is_absolute() or ".." in Path(below).parts:
        raise ConfigError(f'subPath "{below}" must not leave its volume')
    return Bind(volume.path / below, mount["mountPath"], volume.read_only or mount.get("readOnly", False))
