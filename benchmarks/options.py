"""The command line that all benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser(name: str, description: str, variants: Sequence[str]) -> argparse.ArgumentParser:
    """Options by which a benchmark can be made in pieces."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--variant", choices=variants, action="append", help="only this one (may be repeated)")
    made.add_argument("--runs", type=int, help="runs of each variant, in place of its own number")
    made.add_argument("--append", action="store_true", help="add to the runs that are there instead of replacing them")
    made.add_argument("--dir", type=Path, help="use the playground in this directory, and leave it up")
    made.add_argument("--table", action="store_true", help="measure nothing, write the table anew")
    return made
