"""Writes the bill of materials of the operator's image (CycloneDX, JSON): every package of its locks, with its hashes.

    python -m playground.toolchain python -m playground.toolchain.sbom FILE

`make sbom` calls it. The program that makes it has a lock of its own and never gets near the operator.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from playground.paths import REPOSITORY, cache_root
from playground.toolchain import cache
from playground.toolchain.progress import run

_LOCKS = REPOSITORY / "requirements"
_OWN_LOCK = _LOCKS / "sbom.lock"
# What operator/image_tree.py puts into the image. Of TensorFlow's wheel that is the message classes alone.
_IN_THE_IMAGE = ("operator.lock", "tensorflow-cpu.lock")


def write(target: Path) -> None:
    """Make the document; the same locks give the same one, byte for byte.

    Raises:
        ToolchainError: the program cannot be installed.
        CalledProcessError: it found that what it made is not valid.
    """
    locked = b"\n".join((_LOCKS / name).read_bytes() for name in _IN_THE_IMAGE)
    options = ("--pyproject", REPOSITORY / "pyproject.toml", "--output-reproducible", "--validate", "--output-file")
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", *options, target, "-"],
        input=locked,
        # It warns that a list of requirements does not say who needs whom.
        env={**os.environ, "PYTHONPATH": str(_program()), "PYTHONWARNINGS": "ignore"},
        check=True,
    )


def _program() -> Path:
    """The folder with cyclonedx-py, installed now if it is not in the cache."""
    target = cache_root() / f"sbom-{cache.digest([_OWN_LOCK, sys.version])}"
    if not target.is_dir():
        with cache.locked("sbom"), cache.scratch("sbom") as scratch:
            locked = ("--no-deps", "--require-hashes", "--disable-pip-version-check", "-r", str(_OWN_LOCK))
            pip = [sys.executable, "-m", "pip", "install", "--quiet", *locked, "--target", str(scratch / "made")]
            run("installing cyclonedx-py", pip)
            cache.publish(scratch / "made", target)
    return target


if __name__ == "__main__":
    write(Path(sys.argv[1]))
