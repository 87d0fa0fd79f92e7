"""`run`: the operator. The only command that loads it."""

import click

from modelrollout.cli.errors import Failure


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def run(flags: tuple[str, ...]) -> None:
    """Run the operator until a signal ends it; its flags are told by `run --help`."""
    try:
        from modelrollout.process import main  # noqa: PLC0415 - kopf, gRPC and all adapters come with it
    except ModuleNotFoundError as error:
        raise Failure(
            f"the operator is not part of this file ({error})", "Run its image, or install the package."
        ) from error
    main(flags)
