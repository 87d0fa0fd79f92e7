"""`completion` and the hidden `__complete`: what shells and kubectl need to complete commands, flags and names."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from modelrollout.cli.app import PLUGIN, cli
from modelrollout.cli.flags import surroundings

_VARIABLE = "_KUBECTL_MODELROLLOUT_COMPLETE"
_NO_FILES = ":4"
"""cobra's directive: offer no file names."""

_SHIM = f"""\
#!/bin/sh
# kubectl runs this to complete `kubectl modelrollout`. It belongs on PATH, named kubectl_complete-modelrollout.
exec {PLUGIN} __complete "$@"
"""


@click.command()
@click.argument("shell", type=click.Choice(["kubectl", "bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    r"""Print what makes a shell complete: `kubectl modelrollout` (kubectl), or kubectl-modelrollout (the others).

    \b
      kubectl modelrollout completion kubectl > ~/bin/kubectl_complete-modelrollout
      chmod +x ~/bin/kubectl_complete-modelrollout
    """
    if shell == "kubectl":
        click.echo(_SHIM, nl=False)
        return
    chosen = get_completion_class(shell)
    assert chosen is not None
    click.echo(chosen(cli, {}, PLUGIN, _VARIABLE).source())


@click.command(hidden=True, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def __complete(words: tuple[str, ...]) -> None:
    """Choices for the last of these words, one per line, then cobra's directive."""
    *before, incomplete = words or ("",)
    asked = ShellComplete(cli, {"obj": surroundings()}, PLUGIN, _VARIABLE)
    for item in asked.get_completions(before, incomplete):
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(_NO_FILES)
