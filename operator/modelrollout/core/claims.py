"""Who may have a match on a gateway: two ModelRollouts with the same one would answer each other's requests.

The older object keeps it; the newer makes no route, and its model servers run untouched (docs/design.md, "The route").
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelrollout.core.values import JSON

Place = tuple[str, str, str]
"""Gateway, match, hostname: where a claim is filed, so that hundreds on one gateway need not be compared in pairs."""

_ALL = "*"
"""In place of a hostname: claims for whatever hostname."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One match on one listener. Empty `section`, `port` and `hostname` stand for all of them."""

    gateway: str
    match: str
    section: str
    port: str
    hostname: str

    @property
    def filed(self) -> frozenset[Place]:
        """Where this claim is found."""
        return frozenset((self.gateway, self.match, name) for name in (self.hostname, _ALL))

    @property
    def sought(self) -> frozenset[Place]:
        """Where all are found that may overlap this one."""
        names = {_ALL} if self.hostname in _wildcards(self.hostname) else {self.hostname, *_wildcards(self.hostname)}
        return frozenset((self.gateway, self.match, name) for name in names)

    def overlaps(self, other: "Claim") -> bool:
        """Whether one request could meet both."""
        same = (self.gateway, self.match) == (other.gateway, other.match)
        listener = _either(self.section, other.section) and _either(self.port, other.port)
        return same and listener and _hosts_overlap(self.hostname, other.hostname)


def claims_of(rollout: JSON) -> frozenset[Claim]:
    """What a ModelRollout claims; nothing while it goes, or if its spec cannot be read."""
    if "deletionTimestamp" in rollout["metadata"]:
        return frozenset()
    try:
        return frozenset(_claims(rollout))
    except (KeyError, TypeError, AttributeError):
        return frozenset()


def _claims(rollout: JSON) -> Iterator[Claim]:
    metadata, traffic = rollout["metadata"], rollout["spec"]["traffic"]["gatewayAPI"]
    model = rollout["spec"]["model"].get("name") or metadata["name"]
    matches = [_match(protocol, model, traffic) for protocol in traffic.get("protocols", ("REST", "GRPC"))]
    for parent in traffic["parentRefs"]:
        gateway = f"{parent.get('kind', 'Gateway')} {parent.get('namespace', metadata['namespace'])}/{parent['name']}"
        for hostname in traffic.get("hostnames") or ("",):
            for match in matches:
                yield Claim(gateway, match, parent.get("sectionName", ""), str(parent.get("port", "")), hostname)


def _match(protocol: str, model: str, traffic: JSON) -> str:
    if protocol == "REST":
        return f"REST requests for model {model}"
    headers = sorted(f"{header['name'].lower()}={header['value']}" for header in traffic.get("grpcHeaders", ()))
    return f"gRPC requests with {', '.join(headers)}" if headers else "all gRPC requests"


def conflict(rollout: JSON, others: Iterable[JSON]) -> str:
    """Which older object has a match that this one claims too, and which; empty when it may have them all."""
    mine = claims_of(rollout)
    for other in sorted(others, key=_age):
        theirs = claims_of(other) if _age(other) < _age(rollout) else frozenset()
        shared = sorted(claim.match for claim in mine if any(map(claim.overlaps, theirs)))
        if shared:
            gateway = next(claim.gateway for claim in mine if claim.match == shared[0])
            whose = f"ModelRollout {other['metadata']['namespace']}/{other['metadata']['name']}"
            return f"{shared[0]} at {gateway} go to {whose}, which is older"
    return ""


def _age(rollout: JSON) -> tuple[str, str, str]:
    metadata = rollout["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]


def _either(one: str, other: str) -> bool:
    return not one or not other or one == other


def _hosts_overlap(one: str, other: str) -> bool:
    """Hostnames of the Gateway API: `*.` at the beginning stands for one or more labels."""
    if _either(one, other):
        return True
    return _wildcard_covers(one, other) or _wildcard_covers(other, one)


def _wildcards(hostname: str) -> set[str]:
    """Every hostname that stands for this one among others; "" stands for all."""
    labels = hostname.split(".")
    return {"", *(".".join(["*", *labels[number:]]) for number in range(1, len(labels)))}


def _wildcard_covers(wildcard: str, name: str) -> bool:
    return wildcard.startswith("*.") and name.endswith(wildcard[1:])
