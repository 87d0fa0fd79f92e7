"""The one virtual environment for operator, playground and development tools.

`python -m playground` and the Makefile call ensure(); playground/__main__.py then goes on inside it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from playground.paths import PYTHONPATH, REPOSITORY, cache_root
from playground.toolchain import cache, tensorflow
from playground.toolchain.progress import ToolchainError, run

_LOCKS = [REPOSITORY / "requirements" / name for name in ("dev.lock", "tensorflow-cpu.lock")]
_COMPLETE = ".complete"  # a virtual environment cannot be renamed into place: its scripts know its path
_OLDEST = (3, 11)


def location() -> Path:
    """The environment's folder for this interpreter and these locks, made or not."""
    return cache_root() / f"venv-{platform.python_version()}-{cache.digest(_LOCKS)}"


def ensure() -> Path:
    """Make the environment unless it is there; returns its interpreter."""
    if sys.version_info < _OLDEST:
        raise ToolchainError(f"Python 3.11 or newer is needed; this is {platform.python_version()}")
    folder = location()
    if not (folder / _COMPLETE).exists():
        with cache.locked("venv"):
            if not (folder / _COMPLETE).exists():
                _make(folder)
    return folder / "bin" / "python"


def reexecute(python: Path, arguments: list[str]) -> None:
    """Go on as `python` with the given arguments; returns only if this process is already that one."""
    if Path(sys.prefix).resolve() == python.parent.parent.resolve():
        return
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    os.execve(python, [str(python), *arguments], environment)  # noqa: S606 - no shell is wanted


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    try:
        run("making the virtual environment", [sys.executable, "-m", "venv", str(folder)])
        run(
            "installing Python packages",
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--disable-pip-version-check",
                "-r",
                str(_LOCKS[0]),
            ],
        )
        unpacked = tensorflow.ensure(python)
        tensorflow.copy_modules(unpacked, _site_packages(folder))
    except ToolchainError as error:
        if "ensurepip" in str(error):
            raise ToolchainError(f"{error}\nOn Debian and Ubuntu: apt install python3-venv") from error
        raise
    (folder / _COMPLETE).touch()


def _site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
