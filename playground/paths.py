"""Where things lie: the repository and the cache. Standard library only, used before anything is installed."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
"""Root of the checkout that this package belongs to."""

PYTHONPATH = f"{REPOSITORY / 'operator'}:{REPOSITORY}"
"""What a Python process of ours needs as PYTHONPATH; nothing is installed editable."""


def cache_root() -> Path:
    """The folder for everything that is built or downloaded once per machine and user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "modelrollout"


def libtensorflow_version() -> str:
    """The version of TensorFlow's C++ libraries, as its lock says."""
    for line in (REPOSITORY / "requirements" / "tensorflow-cpu.lock").read_text().splitlines():
        if line.startswith("tensorflow-cpu=="):
            return line.removeprefix("tensorflow-cpu==").split()[0]
    raise ValueError("requirements/tensorflow-cpu.lock names no version of tensorflow-cpu")


def libtensorflow_dir() -> Path:
    """Where the toolchain unpacks libtensorflow_cc.so.2 and libtensorflow_framework.so.2."""
    return cache_root() / f"libtensorflow-{libtensorflow_version()}"
