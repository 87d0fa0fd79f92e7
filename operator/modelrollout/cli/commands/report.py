"""`report`: how a rollout went, from its status and from what Prometheus has recorded."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from modelrollout.cli.checks import with_defaults
from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.definition import schema
from modelrollout.cli.errors import Failure
from modelrollout.cli.flags import access_flags, name_argument, surroundings
from modelrollout.cli.pictures import picture_flag, save_picture
from modelrollout.cli.recordings import fetch
from modelrollout.core.names import Track, child
from modelrollout.planning.manifest import Manifest, manifest_of
from modelrollout.planning.past import Past, as_words, attempts, marks_of
from modelrollout.planning.picture import draw_rollout
from modelrollout.planning.recording import replay
from modelrollout.planning.trace import Point

_STEP = 15.0
"""Seconds between two looks; fewer where the judge looked more often."""


@click.command()
@name_argument()
@access_flags
@click.option("--attempt", type=int, help="Which one; default: the last.")
@click.option("--prometheus", metavar="URL", help="Where to ask; default: the object's address.")
@picture_flag
def report(cluster: Cluster, name: str, attempt: int | None, prometheus: str | None, picture: Path | None) -> None:
    """Show how a rollout went: what happened when, both sides' answers, and the evidence as it grew.

    The evidence is worked out anew from the counters that Prometheus still has.
    """
    obj = cluster.get(ROLLOUTS, name)
    past = _chosen(name, attempts(obj), attempt)
    manifest = manifest_of(with_defaults(obj, schema()))
    points = _points(manifest, past, prometheus)
    marks = marks_of(past, _events(cluster, name))
    click.echo(as_words(name, past, points, marks))
    if picture:
        title = f"{name}, version {past.version}, attempt {past.attempt}: {past.outcome}"
        save_picture(picture, title, lambda title: draw_rollout(title, points, marks))


def _chosen(name: str, found: list[Past], attempt: int | None) -> Past:
    chosen = [past for past in found if attempt in {None, past.attempt}]
    if not chosen:
        known = ", ".join(str(past.attempt) for past in found)
        raise Failure(f"{name} has no such rollout behind it", f"Its attempts: {known or 'none yet'}.")
    return chosen[0]


def _points(manifest: Manifest, past: Past, address: str | None) -> list[Point]:
    analysis = manifest.spec.analysis
    if address is None and analysis is None:
        raise Failure("where its numbers are, is not known", "Give --prometheus: its spec names none.")
    where = address or (analysis.address if analysis else "")
    begins = past.started - (analysis.baseline if analysis else timedelta())
    ends = past.ended or surroundings().now()
    pods = f"{manifest.name}-(stable|canary)-.+"
    often = min(_STEP, analysis.interval.total_seconds()) if analysis else _STEP
    looks = fetch(where, manifest.namespace, manifest.spec.model_name, pods, begins, ends, often)
    if not looks:
        raise Failure(f"{where} has nothing of {manifest.name}'s pods in that time", "Does it keep data for so long?")
    return replay(looks, f"{child(manifest.name, Track.CANARY)}-", analysis, past.started.timestamp())


def _events(cluster: Cluster, name: str) -> list[Any]:
    try:
        found = cluster.get("events")["items"]
    except Failure as failure:
        click.echo(f"Without what happened when: {failure.message}", err=True)
        return []
    about = ((event, event.get("involvedObject") or event.get("regarding") or {}) for event in found)
    return [event for event, who in about if who.get("kind") == "ModelRollout" and who.get("name") == name]
