"""`python -m benchmarks.undo`: how long a version that people go back from still answers, per pod and over all.

Going back is asked for by `spec` alone: while the new version bakes, when the old one is still loaded, or after it is
promoted, when the one before it has to be loaded again.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.figures import Figure, Run
from benchmarks.lab import Lab, callers, rollout
from benchmarks.timeline import IncompleteError, last_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playground.scene import Scene, Traffic

NAME = "bench-undo"
STABLE = 101
REPLICAS = 3
_GATEWAY_RATE, _POD_RATE = 60.0, 50.0
_GRPC_PORT = 8500

FIGURES = (
    Figure("quickestPod", "request to last answer of the version left, quickest pod", "s"),
    Figure("slowestPod", "request to last answer of the version left, slowest pod", "s"),
    Figure("overAll", "**request to last answer of the version left, over all (through the gateway)**", "s"),
    Figure("over", "request to rollout over", "s"),
    Figure("failed", "requests that failed, total", total=True, worst_goal=0),
)

Reach = "Callable[[Scene, int], None]"


def _reverts(found: Lab, budget: Budget) -> Iterator[Run]:
    """Back to the stable version while the new one bakes."""
    with _serving(found) as scene:
        for number in budget.runs(5):
            version = STABLE + number
            _wish(scene, version, bake="10m")
            yield attempt(partial(_go_back, found, scene, version, bake="10m", outcome="Cancelled"))


def _undoes(found: Lab, budget: Budget) -> Iterator[Run]:
    """Back to the version promoted before, by the fast path."""
    with _serving(found) as scene:
        for number in budget.runs(5):
            version = STABLE + number
            _wish(scene, version, bake="1s")
            yield attempt(partial(_go_back, found, scene, version, bake="1s", outcome="Promoted"))
