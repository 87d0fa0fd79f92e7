"""Pictures of `plan`, `simulate` and `report`, written where people ask for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelrollout.cli.errors import Failure
from modelrollout.planning.picture import FORMATS, NoPlots, save

picture_flag = click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw it: FILE.png, FILE.svg or FILE.html."
)


def save_picture(path: Path, title: str, draw: Callable[[str], Any]) -> None:
    """Draw it, write it and say where. Raises Failure."""
    if path.suffix not in FORMATS:
        raise Failure(f"{path}: pictures are {', '.join(FORMATS)}")
    try:
        save(draw(title), path, title)
    except NoPlots as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error}") from error
    click.echo(f"Picture: {path}", err=True)
