"""Makes versions misbehave on demand, by a JSON file that may change at any time (looked at every tick).

The file is named by PLAYGROUND_FAULTS; without that variable it is `faults.json` in each model's base path. All keys
are optional; a file that does not parse is reported in the log and the one before stays in force:

    {"server": {"pods": "",                # only servers in pods whose names begin so (default: all)
                "ignore_reload": false,    # reloads answer OK and change nothing
                "hang_reload": false,      # reloads never answer: the server is wedged until it is restarted
                "refuse_reload": "text",   # reloads fail, INTERNAL with this text, and change nothing
                "reload_seconds": 15,      # reloads take that much longer
                "close_grpc": false,       # nobody listens on the gRPC port; open again when this is false again
                "unready": false},         # GETs of a model over REST, readiness probes too, fail with 503
     "memory_limit": 10,                   # units that all versions of one model may take together
     "versions": {"102": {
        "pods": "",                        # only servers in pods whose names begin so (default: all)
        "error_rate": 0.1,                 # share of requests that fail ...
        "error_code": "INTERNAL",          # ... with this code (default INTERNAL)
        "latency": 0.2,                    # seconds added ...
        "latency_rate": 1.0,               # ... to this share of requests (default 1)
        "wrong_rate": 0.5,                 # share of answers whose numbers are wrong; `version` stays right
        "refuse_load": "text",             # loading fails, UNKNOWN with this text
        "load_seconds": 5,                 # loading takes that much longer
        "memory": 6,                       # units; beyond the limit loading fails, RESOURCE_EXHAUSTED
        "classes": {"cat": 3, "dog": 1},   # each answer counts a class, drawn with these weights, in a counter as
                                           #  people's own are: prediction_class_total
        "gpu_memory": 4e9,                 # a gauge as GPU exporters have it: gpu_memory_used_bytes ...
        "gpu_memory_per_request": 1e6,     # ... and by how much it grows with each request
        "crash_on_request": 100,           # the process ends at this version's n-th request (counted from the
                                           #  process's start) ...
        "exit_code": 139}}}                # ... with this code (default 139)
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground.model_server.errors import Code
from playground.model_server.log import log

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class VersionFaults:
    """What one version does wrong; the defaults are a healthy version."""

    pods: str = ""
    error_rate: float = 0.0
    error_code: Code = Code.INTERNAL
    latency: float = 0.0
    latency_rate: float = 1.0
    wrong_rate: float = 0.0
    refuse_load: str = ""
    load_seconds: float = 0.0
    memory: int = 0
    classes: Mapping[str, float] = field(default_factory=dict)
    gpu_memory: float = 0.0
    gpu_memory_per_request: float = 0.0
    crash_on_request: int = 0
    exit_code: int = 139


@dataclass(frozen=True)
class ServerFaults:
    """What the server as a whole does wrong."""

    pods: str = ""
    ignore_reload: bool = False
    hang_reload: bool = False
    refuse_reload: str = ""
    reload_seconds: float = 0.0
    close_grpc: bool = False
    unready: bool = False


@dataclass(frozen=True)
class FaultFile:
    """One parsed file."""

    server: ServerFaults = ServerFaults()
    memory_limit: int = 0
    versions: Mapping[int, VersionFaults] = field(default_factory=dict)


HEALTHY = VersionFaults()
_SOUND = ServerFaults()
_NONE = FaultFile()


def parse(text: str) -> FaultFile:
    """Read a file's text; ValueError, TypeError or KeyError for what is not in the format."""
    raw = json.loads(text)
    if unknown := set(raw) - {"server", "memory_limit", "versions"}:
        raise KeyError(f"unknown keys {sorted(unknown)}")
    versions = {int(version): _version(dict(faults)) for version, faults in raw.get("versions", {}).items()}
    return FaultFile(ServerFaults(**raw.get("server", {})), int(raw.get("memory_limit", 0)), versions)


def _version(raw: dict[str, Any]) -> VersionFaults:
    if "error_code" in raw:
        raw["error_code"] = Code[raw["error_code"]]
    return VersionFaults(**raw)


class _Watched:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self.content = _NONE

    def refresh(self) -> None:
        try:
            info = self.path.stat()
            stamp = (info.st_mtime_ns, info.st_size, info.st_ino)
            if stamp != self._seen:
                self._seen = stamp
                self.content = parse(self.path.read_text())
                log("I", "playground", f"faults of {self.path} are in force")
        except FileNotFoundError:
            self._seen, self.content = None, _NONE
        except (OSError, ValueError, TypeError, KeyError) as error:
            log("W", "playground", f"{self.path} is no file of faults, it changes nothing: {error!r}")


class Faults:
    """What misbehaves now."""

    def __init__(self) -> None:
        path = os.environ.get("PLAYGROUND_FAULTS")
        self._common = _Watched(Path(path)) if path else None
        self._files: dict[str, _Watched] = {}
        self._requests: dict[tuple[str, int], int] = {}
        self.refresh()

    def look_at(self, base_paths: Mapping[str, Path]) -> None:
        """Watch the files in these models' base paths, unless one file was named for all."""
        if self._common is None:
            known = {watched.path: watched for watched in self._files.values()}
            paths = {name: path / "faults.json" for name, path in base_paths.items()}
            self._files = {name: known.get(path) or _Watched(path) for name, path in paths.items()}
            self.refresh()

    def refresh(self) -> None:
        """Take over what has changed on disk."""
        for watched in self._watched():
            watched.refresh()

    @property
    def server(self) -> ServerFaults:
        """The server's own faults: of the first file that has some for this pod."""
        pod = os.environ.get("HOSTNAME", "")
        found = (watched.content.server for watched in self._watched())
        return next((faults for faults in found if faults != _SOUND and pod.startswith(faults.pods)), _SOUND)

    def of(self, name: str, version: int) -> VersionFaults:
        """The faults of one version."""
        faults = self._file(name).versions.get(version, HEALTHY)
        return faults if os.environ.get("HOSTNAME", "").startswith(faults.pods) else HEALTHY

    def fits(self, name: str, version: int, loaded: list[int]) -> bool:
        """Whether the version has room beside those that are loaded."""
        limit = self._file(name).memory_limit
        return not limit or sum(self.of(name, each).memory for each in [version, *loaded]) <= limit

    def count_request(self, name: str, version: int) -> int:
        """Count a request, and end the process when it is the one to crash on; returns how many there have been."""
        faults = self.of(name, version)
        count = self._requests[name, version] = self._requests.get((name, version), 0) + 1
        if faults.crash_on_request and count >= faults.crash_on_request:
            log("E", "playground", f"fault: crash on request {count} of version {version}")
            os._exit(faults.exit_code)
        return count

    def _watched(self) -> list[_Watched]:
        return [self._common] if self._common else list(self._files.values())

    def _file(self, name: str) -> FaultFile:
        if self._common is not None:
            return self._common.content
        watched = self._files.get(name)
        return watched.content if watched else _NONE
