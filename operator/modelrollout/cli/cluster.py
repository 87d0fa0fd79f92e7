"""How commands reach the API server: through kubectl, which started us or could have.

kubectl knows every way to log in and merges kubeconfigs, and what people configured for it holds for the plugin too.
It also starts at a tenth of the CPU time that a client library takes to import.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from modelrollout.cli.errors import Failure
from modelrollout.cli.refusals import explain
from modelrollout.core.names import ANNOTATION_REQUEST, GROUP
from modelrollout.core.values import JSON

ROLLOUTS = f"modelrollouts.{GROUP}"
MANAGER = "kubectl-modelrollout"
"""Field manager of requests, from which the operator tells that the plugin was used."""

_SECONDS = 20
_READ_SECONDS = 3
"""For what may lie behind a proxy that waits for somebody else."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, and which namespace in it; None is what kubectl would take."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """As flags of kubectl."""
        named = {"--kubeconfig": self.kubeconfig, "--context": self.context, "--namespace": self.namespace}
        given = [part for flag, value in named.items() if value for part in (flag, value)]
        return (*given, *(("--all-namespaces",) if self.all_namespaces else ()))


class Cluster(Protocol):
    """What commands ask of a cluster. Every method raises Failure."""

    def get(self, kind: str, name: str = "", selector: str = "") -> JSON:
        """One object, or without a name a List of those that the label selector leaves."""
        ...

    def read(self, path: str) -> JSON:
        """What the API server answers at a path, within a few seconds."""
        ...

    def ask(self, name: str, token: str) -> None:
        """Annotate a rollout with a request."""
        ...

    def dry_run(self, manifest: str) -> str:
        """What the API server says to a manifest, without keeping it."""
        ...

    def changes(self, kind: str, name: str = "", selector: str = "") -> "Changes":
        """Objects as they are and then as they change, until the server or `close` ends it."""
        ...


class Changes(Protocol):
    """A watch: (ADDED, MODIFIED or DELETED, object) for each change."""

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        """Blocks until there is one. Raises Failure when the cluster refuses."""
        ...

    def close(self) -> None:
        """End it; may be called from another thread than the one that iterates."""
        ...


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A cluster through kubectl."""

    access: Access

    def get(self, kind: str, name: str = "", selector: str = "") -> JSON:
        """See Cluster."""
        return _object(self._run("get", *_what(kind, name, selector), "--output=json"))

    def read(self, path: str) -> JSON:
        """See Cluster."""
        return _object(self._run("get", "--raw", path, f"--request-timeout={_READ_SECONDS}s"))

    def ask(self, name: str, token: str) -> None:
        """See Cluster."""
        self._run(
            "annotate", "--overwrite", f"--field-manager={MANAGER}", ROLLOUTS, name, f"{ANNOTATION_REQUEST}={token}"
        )

    def dry_run(self, manifest: str) -> str:
        """See Cluster. With force: a conflict with another manager is no error of the manifest."""
        arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", f"--field-manager={MANAGER}")
        return self._run(*arguments, "--filename=-", given=manifest)

    def changes(self, kind: str, name: str = "", selector: str = "") -> "Watch":
        """See Cluster."""
        arguments = ("get", *_what(kind, name, selector), "--watch", "--output-watch-events", "--output=json")
        with _kubectl_missing():
            return Watch(self._command(arguments), self.access.namespace)

    def _run(self, *arguments: str, given: str | None = None) -> str:
        with _kubectl_missing():
            done = subprocess.run(
                self._command(arguments), input=given, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        if done.returncode:
            raise explain(done.stderr.strip(), self.access.namespace)
        return done.stdout

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["kubectl", *arguments, *self.access.flags]


def _what(kind: str, name: str, selector: str) -> Iterator[str]:
    yield kind
    if name:
        yield name
    if selector:
        yield f"--selector={selector}"


def _object(text: str) -> JSON:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


@contextmanager
def _kubectl_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Failure(
            "kubectl was not found on PATH", "Install kubectl: this program talks to clusters through it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"no answer from the API server within {_SECONDS} s", "Is it the right --context?") from error


class Watch:
    """A `kubectl get --watch` as Changes."""

    def __init__(self, command: Sequence[str], namespace: str | None) -> None:
        """Start it."""
        self._namespace = namespace
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        """Kubectl prints each event as indented JSON, ended by a brace in the first column."""
        with self._process as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:  # one event each
                event = json.loads(line)
                yield event["type"], event["object"]
            said = process.stderr.read().strip()
        if process.returncode > 0:
            raise explain(said, self._namespace)

    def close(self) -> None:
        """See Changes."""
        self._process.terminate()
