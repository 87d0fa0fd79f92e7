"""The SavedModels that the playground makes: playground/models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from playground.model_server.errors import ServingError
from playground.model_server.tensors import numbers
from playground.model_server.tf_session import SavedModel
from playground.models import BREAKAGES, break_version, make_version
from playground.models.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_version_answers_with_its_weights(tmp_path: Path) -> None:
    """TensorFlow's own loader reads the checkpoint, and the weights are those that were asked for."""
    model = SavedModel.load(make_version(tmp_path, 9, scale=2.0, bias=-1.0))
    y, version = model.session.run({"x:0": numbers(1, (2,), [3.0, 4.0])}, ["predict/y:0", "predict/version:0"])
    model.close()
    assert (y.values(), version.values()) == ([5.0, 7.0], [9, 9])


def test_versions_are_published_whole_and_once(tmp_path: Path) -> None:
    """Nothing but the finished version is left in the directory, and an existing one is never overwritten."""
    make_version(tmp_path, 1)
    with pytest.raises(FileExistsError):
        make_version(tmp_path, 1)
    assert [child.name for child in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("breakage", "code"), [("no-pb", "NOT_FOUND"), ("garbage-pb", "OUT_OF_RANGE"), ("no-shard", "NOT_FOUND")]
)
def test_broken_versions_do_not_load(tmp_path: Path, breakage: str, code: str) -> None:
    """The loader refuses what is damaged, with its own code."""
    with pytest.raises(ServingError) as caught:
        SavedModel.load(break_version(tmp_path, 1, breakage))
    assert caught.value.code.name == code


def test_a_changed_signature_loads(tmp_path: Path) -> None:
    """A version with another input name loads; only its requests show it."""
    model = SavedModel.load(break_version(tmp_path, 1, "wrong-signature"))
    model.close()
    assert set(model.signatures["serving_default"].inputs) == {"features"}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make` prints the directory it made, broken on request, and fails when there is one."""
    arguments = ["make", str(tmp_path), "--version", "3", "--name", "m", "--break", min(BREAKAGES)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "m" / "3")
    assert main(["make", str(tmp_path), "--version", "4", "--name", "m"]) == 0
    assert main(["make", str(tmp_path), "--version", "4", "--name", "m"]) == 1
