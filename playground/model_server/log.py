"""Log lines on stderr in the shape of the real server's. Used by every module here."""

from __future__ import annotations

import sys
import time


def log(level: str, source: str, text: str) -> None:
    """Write one line; `level` is I, W or E, `source` the file of the real server that says the same."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    print(f"{stamp}: {level} tensorflow_serving/{source}] {text}", file=sys.stderr, flush=True)
