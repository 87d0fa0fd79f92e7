"""Makes small real SavedModels, and broken ones, for the playground, the demo and tests.

A version answers `y = 0.5 x + bias` (bias: its own number unless told otherwise) and its own number in the output
`version`, so that every answer tells which version gave it. `python -m playground.models make DIR --version N`.
"""

from __future__ import annotations

from playground.models.broken import BREAKAGES, break_version
from playground.models.publish import make_version

__all__ = ["BREAKAGES", "break_version", "make_version"]
