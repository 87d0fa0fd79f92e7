"""Files that change all at once, as the kubelet writes ConfigMaps and Secrets. Called by
:mod:`playground.node_agent.volumes`.

Readers open ``<directory>/<key>``, a link to ``..data/<key>``; ``..data`` is a link to the directory that
holds one complete set of files, and one rename swaps it.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA = "..data"


@dataclass(frozen=True)
class File:
    """A file's bytes and permission bits."""

    content: bytes
    mode: int = 0o644


def write(directory: Path, files: Mapping[str, File]) -> bool:
    """Makes `directory` hold exactly `files` (relative path to file); False if it did already, and nothing
    was touched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    current = directory / _DATA
    if current.exists() and _read(current) == dict(files):
        return False
    old = current.resolve() if current.is_symlink() else None
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(0o755)
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    _link(directory / _DATA, fresh.name)
    _show(directory, {Path(name).parts[0] for name in files})
    if old is not None:
        shutil.rmtree(old)
    return True


def _read(current: Path) -> dict[str, File]:
    found = (path for path in current.rglob("*") if path.is_file())
    return {str(path.relative_to(current)): File(path.read_bytes(), path.stat().st_mode & 0o777) for path in found}


def _show(directory: Path, names: set[str]) -> None:
    """Links the first part of every file's path into `directory` and removes links whose file has gone."""
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.name not in names:
            path.unlink()
    for name in names:
        if not (directory / name).is_symlink():
            _link(directory / name, f"{_DATA}/{name}")


def _link(path: Path, target: str) -> None:
    made = path.with_name(f"{_DATA}_tmp")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    made.replace(path)
