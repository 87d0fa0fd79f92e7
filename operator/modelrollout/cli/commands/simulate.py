"""`simulate`: what would happen to a rollout, played through in virtual time by the operator's own rules."""

import json
from datetime import datetime
from pathlib import Path

import click

from modelrollout.cli.errors import Failure
from modelrollout.cli.manifests import manifest_flag, read_manifest, read_yaml
from modelrollout.cli.pictures import picture_flag, save_picture
from modelrollout.planning.manifest import Manifest
from modelrollout.planning.picture import draw_rollout
from modelrollout.planning.scenario import InvalidScenario, Scenario, Traffic, parse_scenario
from modelrollout.planning.simulate import play
from modelrollout.planning.told import as_data, as_words, marks
from modelrollout.planning.traffic import Source

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@manifest_flag
@click.option("--scenario", type=_FILE, help="What users and the new version do; see docs/planning.md.")
@click.option("--prometheus", metavar="URL", help="Take the traffic that the stable pods had from this Prometheus.")
@click.option("--start", type=click.DateTime(), help="From then (UTC).")
@click.option("--end", type=click.DateTime(), help="Until then (UTC).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@picture_flag
def simulate(
    filename: Path,
    scenario: Path | None,
    prometheus: str | None,
    start: datetime | None,
    end: datetime | None,
    output: str,
    picture: Path | None,
) -> None:
    """Say what the operator would have done with a new version, and when.

    Traffic comes from a scenario or from what Prometheus has recorded. With both, the scenario says what the new
    version does to the recorded traffic; without a scenario it is as good as the stable one.
    """
    if not (scenario or prometheus):
        raise click.UsageError("give --scenario, or --prometheus with --start and --end")
    if bool(prometheus) != bool(start and end):
        raise click.UsageError("--prometheus, --start and --end go together")
    manifest = read_manifest(filename)
    wanted = _scenario(scenario)
    source = _recorded(manifest, prometheus, start, end) if prometheus and start and end else None
    found = play(manifest.name, manifest.raw, wanted, source)
    click.echo(json.dumps(as_data(found), indent=2) if output == "json" else as_words(wanted.description, found))
    if picture:
        title = f"{manifest.name}: {wanted.description}"
        save_picture(picture, title, lambda title: draw_rollout(title, found.points, marks(found.told)))


def _scenario(path: Path | None) -> Scenario:
    if path is None:
        return Scenario("the new version is as good as the stable one", Traffic(0.0))
    documents = read_yaml(path)
    if len(documents) != 1:
        raise Failure(f"{path} has {len(documents)} documents where one scenario was expected")
    try:
        return parse_scenario(documents[0])
    except InvalidScenario as error:
        raise Failure(f"{path} is no scenario:\n{error}", "docs/planning.md lists the fields.") from error


def _recorded(manifest: Manifest, address: str, start: datetime, end: datetime) -> Source:
    from modelrollout.cli.recordings import stable_traffic  # noqa: PLC0415 - only for those who have a Prometheus

    return stable_traffic(manifest, address, start, end)
