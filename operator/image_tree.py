"""Makes the operator's file tree, which is all that its image adds to its base. Run by operator/Dockerfile and a test.

    python operator/image_tree.py TREE [--messages FOLDER]

Everything comes from the hash-locked requirements. TensorFlow itself is not among it: of its wheel only the generated
message classes are taken, which TensorFlow Serving's API needs. `--messages` names a folder that has them already.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]
_LOCKS = _REPOSITORY / "requirements"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def main() -> None:
    """Make the tree. Raises CalledProcessError when a package cannot be had."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("--messages", type=Path)
    given = parser.parse_args()
    packages = given.tree / "packages"
    locked = ("--no-deps", "--require-hashes", "--only-binary=:all:", "-r")
    subprocess.run(
        [*_PIP, "install", "--no-compile", *locked, _LOCKS / "operator.lock", "--target", packages], check=True
    )
    if given.messages:
        shutil.copytree(given.messages, packages, dirs_exist_ok=True)
    else:
        _download_messages(packages)
    shutil.copytree(_REPOSITORY / "operator" / "modelrollout", packages / "modelrollout", ignore=_caches)
    for unused in ("bin", *_unused(packages)):
        shutil.rmtree(packages / unused, ignore_errors=True)


def _download_messages(packages: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lock = _LOCKS / "tensorflow-cpu.lock"
        subprocess.run([*_PIP, "download", "--no-deps", "--require-hashes", "-r", lock, "-d", folder], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages, [name for name in archive.namelist() if name.endswith("_pb2.py")])


def _caches(_: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}


def _unused(packages: Path) -> list[str]:
    """Tests that libraries ship with themselves."""
    return [str(found.relative_to(packages)) for found in packages.glob("*/tests") if found.is_dir()]


if __name__ == "__main__":
    main()
