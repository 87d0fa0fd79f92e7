"""TensorFlow without TensorFlow: its C++ libraries and its generated protobuf modules, out of the wheel.

The libraries are for the playground's model server, the *_pb2 modules for everything that speaks TensorFlow Serving's
API. The wheel is downloaded once per cache (0.3 GB) and thrown away after unpacking.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from playground.paths import REPOSITORY, libtensorflow_dir
from playground.toolchain import cache
from playground.toolchain.progress import ToolchainError, run, say

_LOCK = REPOSITORY / "requirements" / "tensorflow-cpu.lock"
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")
_MODULES = "python"


def ensure(python: Path) -> Path:
    """Unpack the wheel into the cache unless that has been done; `python` is one that has pip."""
    target = libtensorflow_dir()
    if target.is_dir():
        return target
    with cache.locked("libtensorflow"):
        if not target.is_dir():
            with cache.scratch("libtensorflow") as scratch:
                _unpack(_download(python, scratch), scratch / "made")
                cache.publish(scratch / "made", target)
    return target


def copy_modules(unpacked: Path, site_packages: Path) -> None:
    """Put the generated modules into a virtual environment, as the namespace package `tensorflow`."""
    shutil.copytree(unpacked / _MODULES, site_packages, dirs_exist_ok=True)


def _download(python: Path, scratch: Path) -> Path:
    pip = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    run("downloading TensorFlow's libraries (0.3 GB)", [*pip, "-r", str(_LOCK), "-d", str(scratch / "wheel")])
    wheels = list((scratch / "wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise ToolchainError(f"expected one wheel of tensorflow-cpu, found {[wheel.name for wheel in wheels]}")
    return wheels[0]


def _unpack(wheel: Path, made: Path) -> None:
    say("unpacking TensorFlow's libraries (0.9 GB)")
    (made / _MODULES).mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.name.endswith("_pb2.py"):
                archive.extract(name, made / _MODULES)
            elif path.name in _LIBRARIES:
                with archive.open(name) as source, (made / path.name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    missing = [name for name in _LIBRARIES if not (made / name).is_file()]
    if missing:
        raise ToolchainError(f"the tensorflow-cpu wheel has no {' and no '.join(missing)}")
