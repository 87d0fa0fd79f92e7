"""The one ModelRollout of a file, checked as `lint` checks it. Called by `plan` and `simulate`."""

from pathlib import Path
from typing import Any

import click
import yaml

from modelrollout.cli.checks import problems, with_defaults
from modelrollout.cli.definition import load, schema
from modelrollout.cli.errors import Failure
from modelrollout.planning.manifest import Manifest, manifest_of

manifest_flag = click.option(
    "-f",
    "--filename",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Manifest with one ModelRollout.",
)


def read_manifest(path: Path) -> Manifest:
    """Raises Failure with everything that is wrong."""
    found = [item for item in read_yaml(path) if isinstance(item, dict) and item.get("kind") == "ModelRollout"]
    if len(found) != 1:
        raise Failure(f"{path} has {len(found)} ModelRollouts", "Give a file with exactly one.")
    wrong = problems(found[0], schema())
    if wrong:
        raise Failure("\n".join([f"{path} is not valid:", *map(str, wrong)]))
    return manifest_of(with_defaults(found[0], schema()))


def read_yaml(path: Path) -> list[Any]:
    """Every document of a file. Raises Failure."""
    try:
        return load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Failure(f"{path} cannot be read: {error}") from error
