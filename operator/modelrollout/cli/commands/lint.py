"""`lint`: manifests checked before anybody applies them, on a laptop or in CI."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from modelrollout.cli.checks import problems
from modelrollout.cli.cluster import Cluster
from modelrollout.cli.definition import load, schema
from modelrollout.cli.errors import Exit, Failure
from modelrollout.cli.flags import access_flags
from modelrollout.core.names import GROUP, VERSION


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.option("--server", is_flag=True, help="Ask the API server too (server-side dry run): changes, quotas, policies.")
@access_flags
def lint(cluster: Cluster, paths: tuple[str, ...], *, server: bool) -> None:
    """Check the ModelRollouts in files, folders or standard input (-); other kinds are passed over.

    The exit code is 1 when something is wrong.
    """
    checked = wrong = 0
    for source, text in _texts(paths):
        for manifest in _rollouts(source, text):
            checked += 1
            said = [str(problem) for problem in problems(manifest, schema())]
            if not said and server:
                said = _server(cluster, manifest)
            wrong += bool(said)
            _tell(source, manifest, said)
    if not checked:
        raise Failure("no ModelRollout in there", f"Looked for apiVersion: {GROUP}/{VERSION}, kind: ModelRollout.")
    sys.exit(Exit.REVERTED if wrong else Exit.OK)


def _texts(paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What to call each file, and what it says."""
    for given in paths:
        if given == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(given)
        for file in sorted((*path.rglob("*.yaml"), *path.rglob("*.yml"))) if path.is_dir() else [path]:
            yield str(file), file.read_text()


def _rollouts(source: str, text: str) -> Iterator[dict[str, Any]]:
    try:
        documents = load(text)
    except yaml.YAMLError as error:
        raise Failure(f"{source} is no YAML: {error}") from error
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "ModelRollout":
            yield document


def _server(cluster: Cluster, manifest: dict[str, Any]) -> list[str]:
    try:
        cluster.dry_run(yaml.safe_dump(manifest))
    except Failure as failure:
        return [failure.message]
    return []


def _tell(source: str, manifest: dict[str, Any], said: list[str]) -> None:
    name = (manifest.get("metadata") or {}).get("name", "without a name")
    click.echo(f"{source}: {name}: {'ok' if not said else ''}".rstrip())
    for line in said:
        click.echo(f"  {line}")
