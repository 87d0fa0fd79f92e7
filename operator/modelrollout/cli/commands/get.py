"""`get`: rollouts, one per line."""

import click

from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.flags import access_flags, all_namespaces_flag, dump, name_argument, output_flag, surroundings


@click.command()
@name_argument(required=False)
@access_flags
@all_namespaces_flag
@output_flag
def get(cluster: Cluster, name: str, output: str | None) -> None:
    """List rollouts with what each is doing and why, or show NAME alone."""
    found = cluster.get(ROLLOUTS, name)
    if output:
        dump(found, output)
        return
    items = [found] if name else list(found["items"])
    if not items:
        click.echo("No ModelRollouts here. Look elsewhere with -n NAMESPACE, everywhere with -A.", err=True)
        return
    from modelrollout.cli.views import table  # noqa: PLC0415 - rich is not needed for data

    world = surroundings()
    console = world.console()
    several = len({item["metadata"]["namespace"] for item in items}) > 1
    console.print(table.rollouts(items, world.now(), namespaces=several, width=console.width))
