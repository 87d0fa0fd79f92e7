"""The command line: `python -m playground up | down | status | exec | logs | stop | start | kill | demo`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playground import box, control, lifecycle
from playground.controlplane import ADMIN
from playground.state import DEFAULT_DIR, State
from playground.supervisor import environment
from playground.toolchain.progress import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Obey one command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    state = State(options.dir.resolve())
    try:
        return int(options.command(state, options))
    except (ToolchainError, box.BoxError, lifecycle.UpError, control.NotUpError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground", description="A cluster on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="state directory (default: .playground)")
        sub.set_defaults(command=command)
        return sub

    up = add("up", _up, "Bring everything up; returns when it is ready.")
    up.add_argument("--no-operator", action="store_true", help="leave the operator out")
    add("down", _down, "End everything.")
    add("status", _status, "Tell what runs and what has died.")
    execute = add("exec", _exec, "Run a command inside.")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")
    add("shell", _shell, "A shell inside, with kubectl.")
    logs = add("logs", _logs, "Show a component's log.")
    logs.add_argument("name")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    for name, text in (
        ("stop", "Stop a component."),
        ("start", "Start a component."),
        ("kill", "SIGKILL a component."),
    ):
        add(name, _tell, text).add_argument("name")
        commands.choices[name].set_defaults(verb=name)
    add("demo", _demo, "Show the product: a bad version is taken back, a good one is promoted.")
    return parser


def _up(state: State, options: argparse.Namespace) -> int:
    info = lifecycle.up(state, operator=not options.no_operator)
    for key in ("kubeconfig", "api", "gateway", "prometheus", "models", "logs"):
        print(f"{key + ':':12} {info[key]}")
    return 0


def _down(state: State, _: argparse.Namespace) -> int:
    print("down" if lifecycle.down(state) else f"no playground was up in {state.dir}")
    return 0


def _status(state: State, _: argparse.Namespace) -> int:
    answer = control.ask(state, "status")
    for unit in answer["components"]:
        restarts = f", restarts: {unit['restarts']}" if unit["restarts"] else ""
        print(f"{unit['name']:24} {unit['phase']}{restarts}")
    for unit in answer["components"]:
        if unit["message"]:
            print(f"\n{unit['message']}")
    return int(answer["phase"] == "failed")


def _exec(state: State, options: argparse.Namespace) -> int:  # noqa: RET503 - execvpe does not return
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        print("exec: which command?", file=sys.stderr)
        return 2
    command = box.enter(state, argv)
    env = environment(state, lifecycle.binaries())
    os.execvpe(command[0], command, env)  # noqa: S606 - its exit status becomes ours


def _shell(state: State, options: argparse.Namespace) -> int:
    print(f"Inside the playground. kubectl is {ADMIN}; models are in /models; leave with exit.", file=sys.stderr)
    options.argv = [os.environ.get("SHELL") or shutil.which("bash") or "sh"]
    return _exec(state, options)


def _logs(state: State, options: argparse.Namespace) -> int:
    file = lifecycle.log_file(state, options.name)
    follow = ["-n", "+1", "-F"] if options.follow else ["-n", "+1"]
    os.execvp("tail", ["tail", *follow, str(file)])  # noqa: S606 - no shell is wanted


def _tell(state: State, options: argparse.Namespace) -> int:
    answer = control.ask(state, options.verb, name=options.name)
    if not answer["ok"]:
        print(answer["error"], file=sys.stderr)
    return int(not answer["ok"])


def _demo(state: State, _: argparse.Namespace) -> int:
    from playground.demo import main  # noqa: PLC0415 - it brings the load generator's libraries

    return int(main(state.dir))
