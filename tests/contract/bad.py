"""The table of bad manifests (bad-manifests.yaml), put together: used by the tests of the definition and of `lint`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TABLE = Path(__file__).with_name("bad-manifests.yaml")


@dataclass(frozen=True)
class Bad:
    """A manifest with one mistake and words that its refusal must have; `before` is what is stored, for a change."""

    name: str
    words: str
    manifest: dict[str, Any]
    before: dict[str, Any] | None


def bad_manifests() -> list[Bad]:
    """All of them, by name."""
    table = yaml.safe_load(_TABLE.read_text())
    base = table["base"]
    return [
        Bad(
            row["name"],
            row["words"],
            _merged(base, row["patch"]),
            _merged(base, row["before"]) if "before" in row else None,
        )
        for row in table["manifests"]
    ]


def _merged(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386) applied."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), part)
    return merged
