"""`plan`: what each step of a rollout can find out, before it begins."""

import json
from pathlib import Path

import click

from modelrollout.cli.errors import Failure
from modelrollout.cli.manifests import manifest_flag, read_manifest
from modelrollout.cli.pictures import picture_flag, save_picture
from modelrollout.planning.answers import Behaviour
from modelrollout.planning.manifest import Manifest
from modelrollout.planning.picture import draw_plan
from modelrollout.planning.plan import RATIOS, Basis, make_plan
from modelrollout.planning.plan_words import as_data, as_words

_ASSUMED_ERRORS = 0.005
_DRAWN = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)


@click.command()
@manifest_flag
@click.option(
    "--rps", type=click.FloatRange(min=0, min_open=True), help="Requests per second; default: ask Prometheus."
)
@click.option("--error-rate", type=click.FloatRange(0, 1), help="Share of bad answers of the stable version.")
@click.option("--prometheus", metavar="URL", help="Where to ask; default: the manifest's address.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@picture_flag
def plan(
    filename: Path,
    rps: float | None,
    error_rate: float | None,
    prometheus: str | None,
    output: str,
    picture: Path | None,
) -> None:
    """Say for each step what worsening it can catch, how soon, and what it costs.

    Traffic comes from --rps, or from what Prometheus knows of the last hour of the stable pods.
    """
    manifest = read_manifest(filename)
    basis = _basis(manifest, rps, error_rate, prometheus)
    made = make_plan(manifest.spec, basis, ratios=_DRAWN if picture else RATIOS)
    about = manifest.name, manifest.spec.version
    click.echo(json.dumps(as_data(*about, made), indent=2) if output == "json" else as_words(*about, made))
    if picture:
        title = f"{manifest.name}: what its steps can find out at {basis.rate:.3g} answers/s"
        save_picture(picture, title, lambda title: draw_plan(title, made))


def _basis(manifest: Manifest, rps: float | None, error_rate: float | None, address: str | None) -> Basis:
    if rps is not None:
        errors = _ASSUMED_ERRORS if error_rate is None else error_rate
        known = "--rps and an assumed error rate" if error_rate is None else "--rps and --error-rate"
        return Basis(rps, Behaviour(errors=errors), known)
    analysis = manifest.spec.analysis
    if address is None and analysis is None:
        raise Failure("how much traffic there is, is not known", "Give --rps: this manifest names no Prometheus.")
    from modelrollout.cli.recordings import last_hour  # noqa: PLC0415 - only for those who have a Prometheus

    basis = last_hour(manifest, address or (analysis.address if analysis else ""))
    if error_rate is None:
        return basis
    return Basis(basis.rate, Behaviour(error_rate, basis.behaviour.median, basis.behaviour.spread), basis.known)
