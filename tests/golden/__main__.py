"""Writes docs/golden anew: what kubectl shows of a ModelRollout in each phase.

    python -m playground.toolchain python -m tests.golden

Run it after a change of the status or of the definition, and read the difference: it is what people will see.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from tests.contract.conftest import DEFINITION, serving
from tests.golden.kubectl import FOLDER, connect, explained, sight
from tests.golden.phases import phases


def main() -> None:
    """Write every file, and remove those of phases that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with serving(folder, yaml.safe_load(DEFINITION.read_text())) as rollouts:
            kubectl = connect(rollouts, folder)
            for name, obj in phases().items():
                (FOLDER / f"{name}.txt").write_text(sight(kubectl, rollouts, obj))
            (FOLDER / "explain.txt").write_text(explained(kubectl))


if __name__ == "__main__":
    main()
