"""Files of JSON lines that grow while they are read: each line is parsed once, for parsing disturbs what is measured.

Used by benchmarks/lab.py for the observer's notes and the operator's log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


@dataclass
class Lines(Generic[T]):
    """What `parse` makes of a file's lines; a line that is no JSON, or for which it gives None, is passed over."""

    file: Path
    parse: Callable[[dict[str, Any]], T | None]
    _read: int = 0
    _found: list[T] = field(default_factory=list)

    def all(self) -> list[T]:
        """Everything so far. A last line that is still being written waits for the next time."""
        if not self.file.exists():
            return self._found
        with self.file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            made = self._parsed(line)
            if made is not None:
                self._found.append(made)
        return self._found

    def _parsed(self, line: bytes) -> T | None:
        try:
            content = json.loads(line)
        except ValueError:
            return None
        return self.parse(content) if isinstance(content, dict) else None
