"""The command line as people and scripts use it: on a real cluster, through the real kubectl, in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

import yaml

from playground import lifecycle
from playground.paths import PYTHONPATH
from tests.situations import NEXT, STABLE, ended, quick, stage, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playground.scene import Scene

PROGRAM = [sys.executable, "-m", "modelrollout"]
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BAD = {"versions": {str(NEXT): {"error_rate": 0.5}}}


def _environment(kubeconfig: Path) -> dict[str, str]:
    path = f"{lifecycle.binaries().controlplane}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": PYTHONPATH, "PATH": path, "KUBECONFIG": str(kubeconfig)}


def _do(scene: Scene, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = _environment(kubeconfig or scene.state.host_kubeconfig)
    return subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False)


def _script(scene: Scene, text: str) -> str:
    """Run a shell script in which `mro` is the program; returns what it printed."""
    head = f'mro() {{ "{sys.executable}" -m modelrollout "$@"; }}\n'
    environment = _environment(scene.state.host_kubeconfig)
    return subprocess.run(["sh", "-c", head + text], env=environment, capture_output=True, text=True, check=True).stdout


def test_a_script_branches_on_the_end(scene: Callable[[str], Scene]) -> None:
    """Not within the timeout is 2, promoted is 0; every change is a line of the log."""
    here = scene("script-good")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        said = _script(here, "mro status script-good --wait --timeout 1s >&2; echo early $?\n"
                             "mro status script-good --wait --timeout 2m; echo late $?\n")  # fmt: skip
    lines = said.splitlines()
    assert lines[0] == "early 2"
    assert lines[-2:] == ["script-good: done: version 102 serves", "late 0"]
    assert any("being judged" in line for line in lines)


def test_a_script_learns_that_a_version_was_taken_back(scene: Callable[[str], Scene]) -> None:
    """The exit code is 1, the last line has the evidence; history has it too."""
    here = scene("script-bad")
    start(here)
    here.misbehave(BAD)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        done = _do(here, "status", here.name, "--wait", "--timeout", "2m")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not done, RolledBack: version 102 was rejected (AnalysisFailed" in done.stdout.splitlines()[-1]
    assert "102      RolledBack  AnalysisFailed" in _do(here, "history", here.name).stdout


def test_abort_and_retry(scene: Callable[[str], Scene]) -> None:
    """Each prints the operator's answer; asked again when nothing is under way, it is refused with the reason."""
    here = scene("verbs")
    start(here)
    here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "1m"}]))
    here.wait("the step", stage("Progressing"))
    aborted = _do(here, "abort", here.name)
    assert (aborted.returncode, aborted.stdout) == (0, "verbs: abort: done\n")
    here.wait("the end", ended(NEXT))
    again = _do(here, "abort", here.name)
    assert again.returncode == 3
    assert "nothing is under way, so there is nothing to abort" in again.stderr
    retried = _do(here, "retry", here.name)
    assert (retried.returncode, retried.stdout) == (0, "verbs: retry: done\n")
    managers = {item["manager"] for item in here.rollout()["metadata"]["managedFields"]}
    assert "kubectl-modelrollout" in managers


def _kubeconfig(scene: Scene, folder: Path, **changes: Any) -> Path:
    """The administrator's, with another user or another server."""
    config = yaml.safe_load(scene.state.host_kubeconfig.read_text())
    config["users"][0]["user"].update(changes.get("user", {}))
    config["clusters"][0]["cluster"].update(changes.get("cluster", {}))
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def test_mistakes_of_newcomers(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """Each is told with what to do about it, and with exit code 3: nothing was found out."""
    here = scene("mistakes")
    start(here)
    nobody = _kubeconfig(here, tmp_path, user={"as": "bob"})
    mistakes = [
        (["status", "mistaks"], None, 'modelrollouts.modelrollout.io "mistaks" not found\nLooked in the namespace of'),
        (["status", here.name, "-n", "models"], None, "Looked in -n models. `kubectl modelrollout get -A` shows"),
        (["get", "--context", "prod"], None, "`kubectl config get-contexts` lists"),
        (["abort", here.name], None, "nothing is under way, so there is nothing to abort\nStatus: Healthy."),
        (["retry", here.name], None, "no version is rejected"),
        (["undo", here.name, "--to", "7"], None, "7 was never promoted here, or too long ago\nPromoted before: none."),
        (["get"], nobody, 'User "bob" cannot list resource'),
        (["abort", here.name], nobody, "You lack this right: ask for a Role"),
    ]
    for arguments, kubeconfig, said in mistakes:
        done = _do(here, *arguments, kubeconfig=kubeconfig)
        assert said in done.stderr
        assert done.returncode == 3


def test_lint_asks_the_server_what_only_it_knows(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """That a name cannot be changed is seen only beside the object that has it."""
    here = scene("linted")
    start(here)
    manifest = here.manifest(NEXT)
    manifest["spec"]["model"]["name"] = "another"
    file = tmp_path / "rollout.yaml"
    file.write_text(yaml.safe_dump(manifest))
    assert _do(here, "lint", str(file)).returncode == 0
    done = _do(here, "lint", "--server", str(file))
    assert done.returncode == 1
    assert "spec.model.name cannot be changed" in done.stdout
    assert here.rollout()["spec"]["model"]["version"] == STABLE


def test_kubectl_completes_the_plugin(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """With the program that `completion kubectl` prints on PATH, kubectl offers commands and names."""
    here = scene("completed")
    start(here)
    shim, plugin = tmp_path / "kubectl_complete-modelrollout", tmp_path / "kubectl-modelrollout"
    shim.write_text(_do(here, "completion", "kubectl").stdout)
    plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modelrollout "$@"\n')
    for program in (shim, plugin):
        program.chmod(0o755)
    environment = _environment(here.state.host_kubeconfig)
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    for words, choice in ((["sta"], "status"), (["abort", "compl"], here.name)):
        command = ["kubectl", "__complete", "modelrollout", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[0].split("\t")[0] == choice


def test_an_api_server_that_is_away(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """The message says which address did not answer, and asks for the context."""
    away = _kubeconfig(scene("away"), tmp_path, cluster={"server": "https://127.0.0.1:9"})
    done = _do(scene("away"), "get", kubeconfig=away)
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
    assert "Is it the right --context" in done.stderr


def test_watch_in_a_terminal(scene: Callable[[str], Scene]) -> None:
    """The tree is drawn in colours, no line is wider than the terminal, and Ctrl-C ends it with 0."""
    here = scene("watch")
    start(here)
    here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "5m"}]))
    here.wait("the step", stage("Progressing"))
    for columns in (60, 100, 160):
        code, shown = _in_terminal(here, ["watch", here.name], columns, until=f"{STABLE} AVAILABLE")
        assert code == 0
        assert "\x1b[" in shown
        assert [
            line for line in re.split(r"[\r\n]+", _ESCAPES.sub("", shown.replace("^C", ""))) if len(line) > columns
        ] == []
        for part in (f"{here.name}-canary", "next promotion", f"{NEXT} AVAILABLE", "weight 20%"):
            assert part in _words(shown)


def _in_terminal(scene: Scene, arguments: list[str], columns: int, until: str) -> tuple[int, str]:
    """Run until something is on the screen, then press Ctrl-C; returns exit code and everything that was written."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**_environment(scene.state.host_kubeconfig), "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_at_a_terminal,  # noqa: PLW1509 - Ctrl-C needs a terminal of its own
    )
    os.close(slave)
    limit = threading.Timer(180, process.kill)
    limit.start()
    written = ""
    for text in _read(master):
        if until in _words(written + text) and until not in _words(written):
            os.write(master, b"\x03")
        written += text
    limit.cancel()
    os.close(master)
    return process.wait(), written


def _at_a_terminal() -> None:
    """Where Ctrl-C works, also when these tests run in the background of a shell, which ignores it from there on."""
    ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _words(shown: str) -> str:
    """What can be read, wherever lines were wrapped."""
    return re.sub(r"[\s│├└─]+", " ", _ESCAPES.sub("", shown))


def _read(master: int) -> Iterator[str]:
    """What is written to the terminal, until nobody has it open any more."""
    while True:
        try:
            yield os.read(master, 65536).decode(errors="replace")
        except OSError:
            return
