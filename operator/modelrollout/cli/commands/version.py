"""`version`: of this program."""

import click

from modelrollout import __version__


@click.command()
def version() -> None:
    """Show the version of this program."""
    click.echo(__version__)
