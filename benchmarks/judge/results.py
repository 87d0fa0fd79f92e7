"""What was found, as JSON: a file for each part, a line for each cell, written after every cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.judge.trial import Result

FOLDER = Path(__file__).parent / "results"


def load(part: str) -> dict[str, Result]:
    """Cells by their names."""
    file = FOLDER / f"{part}.json"
    return {cell["key"]: cell for cell in json.loads(file.read_text())} if file.exists() else {}


def keep(part: str, cells: Iterable[Result]) -> None:
    """Write a part's cells."""
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(_short(cell)) for cell in cells)
    draft = FOLDER / f"{part}.json.draft"
    draft.write_text(f"[\n{lines}\n]\n")
    draft.replace(FOLDER / f"{part}.json")  # whoever is broken off here leaves the old file or the new one


def _short(value: object) -> object:
    """Five digits of each figure."""
    match value:
        case dict():
            return {name: _short(item) for name, item in value.items()}
        case list():
            return [_short(item) for item in value]
        case float():
            return float(f"{value:.5g}")
        case _:
            return value
