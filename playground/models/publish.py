"""Writes a version and renames it into place, as model pipelines must. Used by the command line, demo and tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from playground.model_server.tensors import STRING, Tensor
from playground.model_server.tf_session import from_graph
from playground.models.graph import build


def make_version(base: Path, version: int, *, scale: float = 0.5, bias: float | None = None) -> Path:
    """Make `base`/`version`, which answers `scale * x + bias` (bias defaults to the version); returns the directory.

    The directory appears whole, by one rename; FileExistsError or OSError when there is one already.
    """
    base.mkdir(parents=True, exist_ok=True)
    target = base / str(version)
    if target.exists():
        raise FileExistsError(f"{target} exists; versions never change once they are published")
    scratch = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=base))
    try:
        _write(scratch, version, scale, float(version) if bias is None else bias)
        scratch.chmod(0o755)
        os.rename(scratch, target)  # noqa: PTH104 - the name says that it is atomic
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _write(folder: Path, version: int, scale: float, bias: float) -> None:
    meta = build(version, scale=scale, bias=bias)
    (folder / "variables").mkdir()
    session = from_graph(meta.graph_def)
    try:
        prefix = str(folder / "variables" / "variables").encode()
        session.run({}, [], ["init"])
        session.run({"save/prefix:0": Tensor(STRING, (), [prefix])}, ["save/done:0"])
    finally:
        session.close()
    saved = SavedModel(saved_model_schema_version=1, meta_graphs=[meta])
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
