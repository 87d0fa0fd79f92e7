"""`run`: the operator. The only command that loads it."""

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def run(flags: tuple[str, ...]) -> None:
    """Run the operator until a signal ends it; its flags are told by `run --help`."""
    from modelrollout.process import main  # noqa: PLC0415 - kopf, gRPC and all adapters come with it

    main(flags)
