"""What Prometheus has recorded of a rollout's pods, fetched over HTTP. Called by `plan`, `simulate` and `report`.

By the standard library alone: the plugin is one small file, and a range query is one GET.
"""

import json
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

from modelrollout.cli.errors import Failure
from modelrollout.cli.flags import surroundings
from modelrollout.core.counters import bad_query, latency_query
from modelrollout.core.names import Track, child
from modelrollout.planning.manifest import Manifest
from modelrollout.planning.plan import Basis
from modelrollout.planning.recording import Look, NothingRecorded, basis_of, looks_of, traffic_of
from modelrollout.planning.traffic import Recorded

_SECONDS = 30
_STEP = 15.0
_MOST_SAMPLES = 2000
_ANY = "any"


def last_hour(manifest: Manifest, address: str) -> Basis:
    """How much the stable pods answered in the last hour, and how. Raises Failure."""
    now = surroundings().now()
    try:
        return basis_of(_stable(manifest, address, now - timedelta(hours=1), now))
    except NothingRecorded as error:
        raise Failure(str(error), "Give --rps.") from error


def stable_traffic(manifest: Manifest, address: str, start: datetime, end: datetime) -> Recorded:
    """The traffic of the stable pods in that time; times without a zone are UTC. Raises Failure."""
    begins, ends = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (start, end))
    if begins >= ends:
        raise Failure(f"--start {begins.isoformat()} is not before --end {ends.isoformat()}")
    try:
        return traffic_of(_stable(manifest, address, begins, ends))
    except NothingRecorded as error:
        raise Failure(str(error), "Is it the right time, name and namespace?") from error


def _stable(manifest: Manifest, address: str, start: datetime, end: datetime) -> tuple[Look, ...]:
    pods = f"{child(manifest.name, Track.STABLE)}-.+"
    return fetch(address, manifest.namespace, manifest.spec.model_name, pods, start, end)


def fetch(
    address: str, namespace: str, model: str, pods: str, start: datetime, end: datetime, step: float = _STEP
) -> tuple[Look, ...]:
    """Counters of the pods whose names the pattern fits, each `step` seconds and last at `end`. Raises Failure."""
    span = (end - start).total_seconds()
    step = max(step, span / _MOST_SAMPLES)
    begins = end.timestamp() - ceil(span / step) * step
    window = {"start": f"{begins:.3f}", "end": f"{end.timestamp():.3f}", "step": f"{step:.3f}"}
    bad, latency = (
        _matrix(address, {"query": query(namespace, model, [_ANY]).replace(f'"{_ANY}"', f'"{pods}"'), **window})
        for query in (bad_query, latency_query)
    )
    return looks_of(bad, latency)


def _matrix(address: str, parameters: dict[str, str]) -> list[Any]:
    if urlsplit(address).scheme not in {"http", "https"}:
        raise Failure(f"{address!r} is no address of a Prometheus", "It begins with http:// or https://.")
    url = f"{address.rstrip('/')}/api/v1/query_range?{urlencode(parameters)}"
    hint = "Is it reachable from here? kubectl port-forward and --prometheus URL help."
    try:
        # No proxies: the address is of this cluster, or forwarded from it.
        with build_opener(ProxyHandler({})).open(url, timeout=_SECONDS) as answer:
            said = json.load(answer)
    except HTTPError as error:
        raise Failure(f"{address} answered {error.code}: {error.read(300).decode(errors='replace')}") from error
    except (URLError, TimeoutError, ConnectionError) as error:
        raise Failure(f"{address} cannot be reached: {getattr(error, 'reason', error)}", hint) from error
    except ValueError as error:
        raise Failure(f"{address} does not answer as Prometheus does") from error
    found = said.get("data", {}).get("result") if isinstance(said, dict) else None
    if not isinstance(found, list):
        raise Failure(f"{address} does not answer as Prometheus does")
    return found
