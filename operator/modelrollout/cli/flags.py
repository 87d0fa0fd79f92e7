"""The flags that commands share, and what commands are given: a way to the cluster, a clock, a place to print.

A command is decorated with what it needs; tests hand in a `Surroundings` of their own as click's context object.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from modelrollout.cli.cluster import ROLLOUTS, Access, Cluster, Kubectl
from modelrollout.cli.errors import Failure

if TYPE_CHECKING:
    from rich.console import Console

Command = Callable[..., None]

_NOT_A_TERMINAL = 4096
"""Columns where nobody looks: nothing is cut off for the next program."""


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one clock of the command line


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command touches of the world."""

    connect: Callable[[Access], Cluster] = Kubectl
    now: Callable[[], datetime] = _now
    width: int | None = field(default=None)

    def console(self) -> "Console":
        """Standard output: colours on a terminal (unless NO_COLOR is set), elsewhere as wide as it has to be."""
        from rich.console import Console  # noqa: PLC0415 - not needed for completion and JSON

        width = self.width or (None if sys.stdout.isatty() else _NOT_A_TERMINAL)
        return Console(width=width, highlight=False, soft_wrap=False)


def surroundings() -> Surroundings:
    """Of the command that runs now."""
    return click.get_current_context().ensure_object(Surroundings)


def access_flags(command: Command) -> Command:
    """`-n`, `--context`, `--kubeconfig`; the command gets `cluster`."""

    @click.option("-n", "--namespace", help="Namespace; default: that of the context.")
    @click.option("--context", help="Context of the kubeconfig; default: the current one.")
    @click.option("--kubeconfig", help="Path of the kubeconfig; default: $KUBECONFIG, else ~/.kube/config.")
    @wraps(command)
    def connected(*args: Any, namespace: str | None, context: str | None, kubeconfig: str | None, **flags: Any) -> None:
        access = Access(kubeconfig, context, namespace, bool(flags.pop("all_namespaces", False)))
        command(*args, cluster=surroundings().connect(access), **flags)

    return connected


def all_namespaces_flag(command: Command) -> Command:
    """`-A`, on top of `access_flags`."""
    return click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")(command)


def output_flag(command: Command) -> Command:
    """`-o json` or `-o yaml`; the command gets `output`, None for words."""
    return click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="The data instead of words.")(
        command
    )


def name_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """The name of a rollout, completed from the cluster; the command gets `name`."""
    return click.argument("name", required=required, default=None if required else "", shell_complete=_names)


def dump(data: Any, output: str) -> None:
    """Print data for programs."""
    import json  # noqa: PLC0415

    import yaml  # noqa: PLC0415

    text = (
        json.dumps(data, indent=2) if output == "json" else yaml.safe_dump(data, sort_keys=False, width=_NOT_A_TERMINAL)
    )
    click.echo(text.rstrip("\n"))


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """Names that fit, nothing when the cluster cannot be asked: completion is silent."""
    access = Access(ctx.params.get("kubeconfig"), ctx.params.get("context"), ctx.params.get("namespace"))
    try:
        found = ctx.ensure_object(Surroundings).connect(access).get(ROLLOUTS)
    except Failure:
        return []
    names = (item["metadata"]["name"] for item in found["items"])
    return [name for name in names if name.startswith(incomplete)]
