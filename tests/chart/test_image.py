"""The image's file tree, made by the same script as in operator/Dockerfile: it is small, and it is the operator."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from playground.paths import REPOSITORY, libtensorflow_dir

if TYPE_CHECKING:
    from pathlib import Path

# Packages are downloaded.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

BIGGEST = 230_000_000


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image adds to its base."""
    made = tmp_path_factory.mktemp("image") / "tree"
    script = REPOSITORY / "operator" / "image_tree.py"
    messages = libtensorflow_dir() / "python"
    subprocess.run([sys.executable, script, made, "--messages", messages], check=True)
    return made


def test_it_runs_without_anything_else(tree: Path, tmp_path: Path) -> None:
    """The operator starts from these files alone, and finds its definition in them."""
    env = {"PATH": os.defpath, "PYTHONPATH": str(tree / "packages"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-m", "modelrollout"]
    told = subprocess.run([*command, "version"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert told.stdout == "0.1.0\n"
    helped = subprocess.run(
        [*command, "run", "--help"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert "--leader-election" in helped.stdout
    assert (tree / "packages" / "modelrollout" / "crds" / "modelrollouts.yaml").is_file()


def test_it_is_small(tree: Path) -> None:
    """Nodes that have never seen it pull it quickly; TensorFlow is not in it."""
    files = [file for file in tree.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= BIGGEST
    assert not [file.name for file in files if file.name.startswith("libtensorflow")]
