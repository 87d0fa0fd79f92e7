"""`history`: the rollouts that one object has behind it. With `-o json` it is the object's audit record."""

import click

from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.flags import access_flags, dump, name_argument, output_flag, surroundings


@click.command()
@name_argument()
@access_flags
@output_flag
def history(cluster: Cluster, name: str, output: str | None) -> None:
    """Show which versions were rolled out, how that ended and why, the last one first."""
    obj = cluster.get(ROLLOUTS, name)
    entries = obj.get("status", {}).get("history", [])
    if output:
        metadata = obj["metadata"]
        dump({"name": metadata["name"], "namespace": metadata["namespace"], "history": entries}, output)
        return
    if not entries:
        click.echo(f"{name} has no rollout behind it yet.", err=True)
        return
    from modelrollout.cli.views import table  # noqa: PLC0415 - rich is not needed for data

    world = surroundings()
    world.console().print(table.history(entries, world.now()))
