"""Cache entries that are either whole or absent. Used by the other modules of the toolchain."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playground.paths import cache_root
from playground.toolchain.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def digest(parts: Iterable[bytes | str | Path]) -> str:
    """A short hash over byte strings, texts and the contents of files, in their order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock `name`; says so when another process has it, and waits for that one."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """An empty folder in the cache's own file system, gone at the end, whatever happens to its content."""
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_root()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, target: Path) -> None:
    """Move a finished folder to its final name in one step; what lay there before goes away."""
    if target.exists():
        shutil.rmtree(target)
    os.replace(made, target)  # noqa: PTH105 - the name says that it is atomic
