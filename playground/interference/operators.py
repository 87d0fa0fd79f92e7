"""An operator process of a test's own, in the box, behind a lane: it can be stopped, killed and kept running."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from playground import box, lifecycle
from playground.controlplane import OPERATOR_NAMESPACE
from playground.supervisor import environment

if TYPE_CHECKING:
    from playground.interference.lanes import Lane
    from playground.state import State

_WRITE_PID = 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec "$@"'
_POLL_SECONDS = 0.05


class Operator:
    """One operator while the block lasts. Whenever it ends by itself it is started again at once, as a cluster does."""

    def __init__(self, state: State, lane: Lane, *arguments: str) -> None:
        """`arguments` are the operator's own, such as `--namespace`."""
        self._state = state
        self._lane = lane
        self._command = [sys.executable, "-m", "modelrollout", "run", "--kubeconfig", str(lane.kubeconfig)]
        self._command += ["--lease-namespace", OPERATOR_NAMESPACE, *arguments]
        self._env = environment(state, lifecycle.binaries())
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"operator {lane.name}", daemon=True)
        self.starts = 0

    def __enter__(self) -> Self:
        """Start it, and wait until it has a process id."""
        self._lane.pid.unlink(missing_ok=True)
        self._keeper.start()
        while not self._lane.pid.exists():
            time.sleep(_POLL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        """End it for good."""
        self._over.set()
        self.resume()
        while self._keeper.is_alive():
            self.signal("TERM")
            self._keeper.join(10)

    def kill(self) -> None:
        """SIGKILL; it is started again."""
        self.signal("KILL")

    def suspend(self) -> None:
        """SIGSTOP."""
        self.signal("STOP")

    def resume(self) -> None:
        """SIGCONT; also for nsenter, which stops along with the process that it has started."""
        self.signal("CONT")
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def signal(self, name: str) -> None:
        """Send a signal, if it runs."""
        command = ["sh", "-c", 'kill -"$0" "$1" 2>/dev/null || true', name, self._lane.pid.read_text().strip()]
        subprocess.run(box.enter(self._state, command), env=self._env, check=True)

    def _keep(self) -> None:
        command = box.enter(self._state, ["sh", "-c", _WRITE_PID, str(self._lane.pid), *self._command])
        while not self._over.is_set():
            with self._lane.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self.starts += 1
            self._process.wait()
