"""How much of a core `watch` takes with 200 rollouts: in a real terminal, with a kubectl that only prints events.

python -m playground.toolchain python -m tests.cli.measure_watch
"""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path

from playground.paths import PYTHONPATH
from tests.gitops.argo import phase

ROLLOUTS = 200
SECONDS = 20.0
RATES = (0.1, 20.0, 100.0)
"""Changes a second."""

_KUBECTL = """#!{python}
import json, sys, time
objects, rate = json.load(open({objects!r})), float({rate!r})
say = lambda kind, obj: print(json.dumps({{"type": kind, "object": obj}}), flush=True)
for obj in objects:
    say("ADDED", obj)
while True:
    for number, obj in enumerate(objects):
        time.sleep(1 / rate)
        obj["status"]["message"] = f"message {{number}} of {{time.monotonic()}}"
        say("MODIFIED", obj)
"""


def main() -> None:
    """Print a line per rate."""
    for rate in RATES:
        with tempfile.TemporaryDirectory() as folder:
            _write_kubectl(Path(folder), rate)
            print(f"{rate:g} changes a second: {_share(folder):.1%} of a core")  # noqa: T201 - its result


def _write_kubectl(folder: Path, rate: float) -> None:
    objects = [phase("good-progressing-step-2-live") for _ in range(ROLLOUTS)]
    for number, obj in enumerate(objects):
        obj["metadata"]["name"] = f"model-{number:03}"
    (folder / "objects.json").write_text(json.dumps(objects))
    program = folder / "kubectl"
    program.write_text(_KUBECTL.format(python=sys.executable, objects=str(folder / "objects.json"), rate=rate))
    program.chmod(0o755)


def _share(path: str) -> float:
    """CPU time of the process over time, once it has drawn its first pictures."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "PYTHONPATH": PYTHONPATH, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "modelrollout", "watch"]
    with subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        threading.Thread(target=_drain, args=(master,), daemon=True).start()
        time.sleep(SECONDS / 4)
        before, began = _cpu_seconds(process.pid), time.monotonic()
        time.sleep(SECONDS)
        used, took = _cpu_seconds(process.pid) - before, time.monotonic() - began
        process.send_signal(signal.SIGINT)
    return used / took


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _drain(master: int) -> None:
    while True:
        try:
            os.read(master, 65536)
        except OSError:
            return


if __name__ == "__main__":
    main()
