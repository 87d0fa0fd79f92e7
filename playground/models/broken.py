"""Versions that go wrong in the ways real ones do: half copied, garbage, of another shape. For tests and demos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from playground.models.publish import make_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _no_pb(folder: Path) -> None:
    """Fails to load with NOT_FOUND."""
    (folder / "saved_model.pb").unlink()


def _garbage_pb(folder: Path) -> None:
    """Fails to load: the file is no SavedModel."""
    (folder / "saved_model.pb").write_bytes(b"\xff not a model")


def _no_index(folder: Path) -> None:
    """Loads, becomes AVAILABLE, and every request fails with FAILED_PRECONDITION."""
    (folder / "variables" / "variables.index").unlink()


def _no_shard(folder: Path) -> None:
    """Fails to load with NOT_FOUND: the checkpoint's data is missing."""
    (folder / "variables" / "variables.data-00000-of-00001").unlink()


def _wrong_signature(folder: Path) -> None:
    """Loads; clients that send `x` get INVALID_ARGUMENT, because the input is called `features` now."""
    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    inputs = saved.meta_graphs[0].signature_def["serving_default"].inputs
    inputs["features"].CopyFrom(inputs["x"])
    del inputs["x"]
    path.write_bytes(saved.SerializeToString())


BREAKAGES: dict[str, Callable[[Path], None]] = {
    "no-pb": _no_pb,
    "garbage-pb": _garbage_pb,
    "no-variables-index": _no_index,
    "no-shard": _no_shard,
    "wrong-signature": _wrong_signature,
}
"""Name of a breakage -> what does it to a version directory; the docstrings tell what a server then does."""


def break_version(base: Path, version: int, breakage: str) -> Path:
    """Make `base`/`version` broken in the named way (a key of BREAKAGES); it is broken before it appears."""
    staging = base / ".broken"
    folder = make_version(staging, version)
    BREAKAGES[breakage](folder)
    target = folder.rename(base / str(version))
    staging.rmdir()
    return target
