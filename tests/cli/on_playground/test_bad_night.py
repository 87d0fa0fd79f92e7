"""docs/operating.md, "A bad night": what is typed by whoever is woken by an alert, and what they are told.

With `-s` the whole session is printed, as the page shows it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from playground.paths import PYTHONPATH
from tests.situations import NEXT, STABLE, ended, live, quick, settled, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

_DESCRIBED = r"^  (Current Step|Last Verdict|Message|Next Decision|Phase|Progress): .*$|^  \w+ +\w+ .* modelrollout .*$"


@dataclass
class Terminal:
    """Somebody at a terminal; what they type and read is printed."""

    scene: Scene

    def type(self, line: str) -> str:
        """A command of the plugin or of kubectl; returns what it printed."""
        words = shlex.split(line)
        if words[:2] == ["kubectl", "modelrollout"]:
            words[:2] = [sys.executable, "-m", "modelrollout"]
        path = f"{lifecycle.binaries().controlplane}:{os.environ['PATH']}"
        config = str(self.scene.state.host_kubeconfig)
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "PATH": path, "KUBECONFIG": config, "COLUMNS": "100"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        print(f"$ {line}\n{done.stdout}{done.stderr}")  # noqa: T201 - what the page shows
        return done.stdout + done.stderr


@pytest.mark.long
def test_a_bad_night(scene: Callable[[str], Scene]) -> None:
    """Look, abort, look again, retry, promote, undo: each is one command, and each is told in the history."""
    here = scene("recsys")
    terminal = Terminal(here)
    start(here)
    steps = [{"weight": 20, "duration": "20m"}, {"weight": 50, "duration": "20m"}]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=steps, bake={"duration": "2s"}))
        here.wait("step 1", live(20), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 150)
        assert "version 102 at 20 %" in terminal.type("kubectl modelrollout get")
        described = terminal.type("kubectl describe mro recsys")
        assert re.findall(_DESCRIBED, described, re.MULTILINE)
        assert "recsys: abort: done" in terminal.type("kubectl modelrollout abort recsys")
        here.wait("the end", ended(NEXT), 120)
        settled(here, "RolledBack")
        assert "AbortRequested" in terminal.type("kubectl modelrollout status recsys")
        assert "recsys: retry: done" in terminal.type("kubectl modelrollout retry recsys")
        here.wait("step 1", live(20), 120)
        assert "promote: done" in terminal.type("kubectl modelrollout promote recsys")
        here.wait("step 2", live(50), 120)
        assert "promote-full: done" in terminal.type("kubectl modelrollout promote recsys --full")
        terminal.type("kubectl modelrollout status recsys --wait --timeout 2m")
        assert "recsys: undo: done" in terminal.type("kubectl modelrollout undo recsys")
        here.wait("101 serving", lambda s: "rollout" not in s and s["stable"]["version"] == STABLE, 120)
        settled(here, "RolledBack")
        assert "nothing is under way" in terminal.type("kubectl modelrollout abort recsys")
        assert "undo by kubectl-modelrollout" in terminal.type("kubectl modelrollout history recsys")
        assert "Undone" in terminal.type("kubectl describe mro recsys")
        terminal.type("kubectl get events --sort-by=.lastTimestamp --field-selector involvedObject.kind=ModelRollout")
