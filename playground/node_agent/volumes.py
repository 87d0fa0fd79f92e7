"""A pod's volumes as directories, and what is written into those that come from the API.

Made by :mod:`playground.node_agent.pods`, one for each pod. ConfigMaps, Secrets and projected volumes
follow their objects whenever `refresh` is called; the others are what they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playground.node_agent import atomic_files
from playground.node_agent.env import ConfigError, contents, field_value
from playground.node_agent.mounts import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playground.node_agent.model import JsonObject
    from playground.node_agent.objects import Objects

_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600
_KINDS = {"configMap": "configmaps", "secret": "secrets"}
_WRITTEN = (*_KINDS, "downwardAPI", "projected")


class MountError(Exception):
    """A volume cannot be mounted now; the text is the message of the FailedMount event."""


class PodVolumes:
    """The volumes of one pod, below `directory`."""

    def __init__(self, objects: Objects, directory: Path, pod: JsonObject) -> None:
        self._objects = objects
        self._directory = directory
        self.pod = pod
        """Set anew by the owner when the pod changes: labels and annotations are content too."""

    async def prepare(self) -> dict[str, Volume]:
        """Makes every volume of the pod.

        Raises:
            MountError: one of them cannot be made yet, or ever.
        """
        made = {}
        for volume in self.pod["spec"].get("volumes", []):
            try:
                made[volume["name"]] = await self._make(volume)
            except (MountError, ConfigError, OSError) as problem:
                raise MountError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {problem}') from problem
        return made

    async def refresh(self, *, hurry: bool) -> None:
        """Writes what has changed in the API since; `hurry` asks the server instead of the agent's own slow
        copy.

        An object that has gone leaves its files as they were.
        """
        for volume in self.pod["spec"].get("volumes", []):
            kind, source = _source(volume)
            if kind in _WRITTEN:
                try:
                    files = await self._files(kind, source, hurry=hurry)
                except (MountError, ConfigError):
                    continue  # as the kubelet: a running container keeps what it has
                atomic_files.write(self._directory / volume["name"], files)

    async def _make(self, volume: JsonObject) -> Volume:
        kind, source = _source(volume)
        directory = self._directory / volume["name"]
        match kind:
            case "emptyDir":
                directory.mkdir(parents=True, exist_ok=True)
                return Volume(directory)
            case "hostPath":
                return Volume(host_path(source["path"], source.get("type", "")))
            case "persistentVolumeClaim":
                return Volume(await self._claimed(source["claimName"]), read_only=source.get("readOnly", False))
            case "configMap" | "secret" | "downwardAPI" | "projected":
                atomic_files.write(directory, await self._files(kind, source, hurry=True))
                return Volume(directory, read_only=True)
            case _:
                raise MountError(f"{kind} volumes are not supported by the playground")

    async def _claimed(self, name: str) -> Path:
        namespace = self.pod["metadata"]["namespace"]
        claim = await self._objects.fetch("persistentvolumeclaims", namespace, name)
        if claim is None:
            raise MountError(f'persistentvolumeclaim "{name}" not found')
        bound = claim["spec"].get("volumeName", "")
        if claim.get("status", {}).get("phase") != "Bound" or not bound:
            raise MountError(f'persistentvolumeclaim "{name}" is not bound')
        volume = await self._objects.fetch("persistentvolumes", "", bound)
        for kind in ("hostPath", "local"):
            if volume and kind in volume["spec"]:
                return host_path(volume["spec"][kind]["path"], volume["spec"][kind].get("type", ""))
        raise MountError(f'persistentvolume "{bound}" is of a kind that the playground does not support')

    async def _files(self, kind: str, source: JsonObject, *, hurry: bool) -> dict[str, atomic_files.File]:
        mode = source.get("defaultMode", _DEFAULT_MODE)
        if kind != "projected":
            return await self._part(kind, source, mode, hurry=hurry)
        files: dict[str, atomic_files.File] = {}
        for part in source.get("sources") or []:
            for word, inner in part.items():
                files |= await self._part(word, inner, mode, hurry=hurry)
        return files

    async def _part(self, kind: str, source: JsonObject, mode: int, *, hurry: bool) -> dict[str, atomic_files.File]:
        if kind == "downwardAPI":
            return downward(self.pod, source, mode)
        if kind == "serviceAccountToken":
            return await self._token(source, mode, hurry=hurry)
        if kind not in _KINDS:
            raise MountError(f"{kind} sources are not supported by the playground")
        name = source.get("name") or source["secretName"]
        namespace, plural = self.pod["metadata"]["namespace"], _KINDS[kind]
        found = (
            await self._objects.fetch(plural, namespace, name)
            if hurry
            else self._objects.known(plural, namespace, name)
        )
        if found is None and not source.get("optional"):
            raise MountError(f'{kind.lower()} "{name}" not found')
        return payload(contents(plural, found) if found else {}, source, mode)

    async def _token(self, source: JsonObject, mode: int, *, hurry: bool) -> dict[str, atomic_files.File]:
        """A token lives as long as the pod's first one: a slow refresh keeps the file."""
        spec, namespace = self.pod["spec"], self.pod["metadata"]["namespace"]
        kept = [path for path in self._directory.glob(f"*/{source['path']}") if path.is_file()]
        if kept and not hurry:
            return {source["path"]: atomic_files.File(kept[0].read_bytes(), mode)}
        request: JsonObject = {"expirationSeconds": source.get("expirationSeconds", _TOKEN_SECONDS)}
        if "audience" in source:
            request["audiences"] = [source["audience"]]
        token = await self._objects.token(namespace, spec.get("serviceAccountName", "default"), request)
        return {source["path"]: atomic_files.File(token.encode(), mode)}


def _source(volume: JsonObject) -> tuple[str, JsonObject]:
    """The kind of a volume and what it says; a volume without a kind is an emptyDir."""
    return next(((key, value or {}) for key, value in volume.items() if key != "name"), ("emptyDir", {}))


def payload(data: Mapping[str, bytes], source: JsonObject, mode: int) -> dict[str, atomic_files.File]:
    """The files of a ConfigMap or Secret source: all keys, or its `items` at their paths.

    Raises:
        MountError: an item names a key that does not exist, and the source is not optional.
    """
    if not source.get("items"):
        return {key: atomic_files.File(value, mode) for key, value in data.items()}
    files = {}
    for item in source["items"]:
        if item["key"] in data:
            files[item["path"]] = atomic_files.File(data[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            raise MountError(f"references non-existent config key: {item['key']}")
    return files


def downward(pod: JsonObject, source: JsonObject, mode: int) -> dict[str, atomic_files.File]:
    """The files of a downward API source."""
    return {
        item["path"]: atomic_files.File(
            field_value(pod, item["fieldRef"]["fieldPath"]).encode(), item.get("mode", mode)
        )
        for item in source.get("items", [])
        if "fieldRef" in item
    }


def host_path(name: str, kind: str) -> Path:
    """A path of the box, made if its `kind` asks for it or none is given.

    Raises:
        MountError: it is not of the `kind` that was asked for.
    """
    path = Path(name)
    if kind in ("", "DirectoryOrCreate") and not path.exists():
        path.mkdir(parents=True)
    if kind == "FileOrCreate" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if kind.startswith("Directory") and not path.is_dir():
        raise MountError(f"hostPath type check failed: {name} is not a directory")
    if kind.startswith("File") and not path.is_file():
        raise MountError(f"hostPath type check failed: {name} is not a file")
    return path
