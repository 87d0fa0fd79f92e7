"""Which commands there are. Called by `__main__` and by the script `kubectl-modelrollout`.

A new command is one module of `commands` and one line in the table. A module is imported when its command is called and
not before: `get` answers at once because neither kopf nor gRPC is loaded for it.
"""

import sys
from importlib import import_module
from pathlib import Path

import click

PLUGIN = "kubectl-modelrollout"
"""Name of the script; kubectl finds it on PATH and calls it for `kubectl modelrollout`."""

# Section of the help -> command -> (module of `commands`, one line of help).
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Look": {
        "get": ("get", "List rollouts with what each is doing and why"),
        "status": ("status", "Show one rollout with everything that belongs to it, or wait for its end"),
        "watch": ("watch", "The same, live"),
        "history": ("history", "Show which versions were rolled out, how that ended and why"),
        "report": ("report", "Show how a rollout went, over time: weight, both sides, evidence"),
    },
    "Decide": {
        "promote": ("verbs", "Approve the step that waits for approval, or promote at once"),
        "abort": ("verbs", "Take the rollout under way back now"),
        "retry": ("verbs", "Try the rejected revision once more"),
        "pause": ("verbs", "Stay at the weight that is set"),
        "resume": ("verbs", "Go on after a pause"),
        "skip": ("verbs", "Leave the current step for the next one"),
        "undo": ("verbs", "Go back to a version that was promoted before"),
    },
    "Check": {
        "lint": ("lint", "Check manifests without a cluster"),
        "plan": ("plan", "Say what each step can find out, and how long that takes"),
        "simulate": ("simulate", "Say what would happen to a rollout, played through in virtual time"),
    },
    "This program": {
        "run": ("run", "Run the operator"),
        "completion": ("completion", "Print what makes a shell complete commands and names"),
        "version": ("version", "Show the version of this program"),
    },
}

_HIDDEN = {"__complete": ("completion", "")}


class _Commands(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of all commands."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of this name, imported now."""
        for section in (*COMMANDS.values(), _HIDDEN):
            if cmd_name in section:
                module = import_module(f"modelrollout.cli.commands.{section[cmd_name][0]}")
                command = getattr(module, cmd_name)
                assert isinstance(command, click.Command)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The table's own words, so that help imports nothing."""
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Roll out TensorFlow Serving models step by step, and see why they go where they go."""


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    cli.main(prog_name=program(sys.argv[0]))


def program(started_as: str) -> str:
    """What people typed: usage strings of a plugin start with `kubectl`."""
    return "kubectl modelrollout" if Path(started_as).name.startswith(PLUGIN) else "python -m modelrollout"
