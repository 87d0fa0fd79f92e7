"""The shell around the rules: order of writes, nothing waited for, nothing written twice. Fakes behind the ports."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.route import canary_weight
from modelrollout.errors import Refused
from modelrollout.ports import Key
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from tests.simulation.operator import SimOperator
from tests.simulation.world import NAME, World
from tests.unit.test_simulated_rollouts import SPEC, in_stage, run_until, settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.readings import CapacityQuestion
    from modelrollout.core.snapshot import Capacity, ServerReport
    from modelrollout.core.values import JSON

KEY = Key("default", NAME)


@dataclass
class FakeCluster:
    """Ports View, Cluster, Events and Capacities over a simulated world; `log` has every write in order."""

    world: World
    log: list[str] = field(default_factory=list)
    refuse: str = ""

    def rollout(self, _key: Key) -> JSON | None:
        """The object."""
        return self.world.rollout()

    def children(self, _key: Key) -> Iterable[JSON]:
        """Its children."""
        return self.world.seen()

    async def apply(self, _key: Key, manifest: JSON, _create: bool) -> None:
        """Note it and do it."""
        if manifest["kind"] == self.refuse:
            raise Refused("exceeded quota")
        weight = f" {canary_weight(NAME, manifest)}" if manifest["kind"] == "HTTPRoute" else ""
        self.log.append(f"apply {manifest['kind']}{weight}")
        self.world.apply(manifest)

    async def delete(self, _key: Key, kind: str, name: str, _uid: str) -> None:
        """Note it and do it."""
        self.log.append(f"delete {kind}")
        self.world.delete(kind, name)

    async def annotate_pod(self, _key: Key, _pod: str, _annotation: str, _value: str) -> None:
        """Note it."""
        self.log.append("annotate")

    async def write_status(self, _key: Key, _seen: JSON, status: Mapping[str, Any]) -> None:
        """Note it and do it."""
        self.log.append(f"status {status.get('rollout', {}).get('stage')}")
        self.world.write_status(dict(status))

    async def read(self, _question: CapacityQuestion) -> Capacity:
        """Room."""
        return self.world.capacity()

    def emit(self, _rollout: JSON, reason: str, _message: str, warning: bool) -> None:
        """Note it."""
        self.log.append(f"{'warning' if warning else 'event'} {reason}")


class HangingServers:
    """Model servers that never answer anything."""

    async def report(self, _ip: str, _model: str) -> ServerReport:
        """Never."""
        await asyncio.Event().wait()
        raise AssertionError

    async def reload(self, _ip: str, _target: ModelTarget) -> None:
        """Never."""
        await asyncio.Event().wait()


@pytest.fixture
def operator() -> Iterator[SimOperator]:
    """A simulated operator whose world serves version 101."""
    loop = asyncio.new_event_loop()
    made = SimOperator(World(SPEC), loop)
    run_until(made, settled)
    yield made
    loop.run_until_complete(_end_tasks())
    loop.close()


async def _end_tasks() -> None:
    """Let cancelled probes come to their end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def reconciler(cluster: FakeCluster) -> Reconciler:
    """The real shell over the fake cluster and servers that hang."""
    sources = Sources(HangingServers(), cluster.world, cluster, cluster.world)
    return Reconciler(cluster, cluster, sources, cluster, lambda _key: None)


async def run_passes(shell: Reconciler, cluster: FakeCluster, until: str) -> None:
    """Passes, with time going on between them, until something was written."""
    for _ in range(100):
        cluster.world.advance(1)
        await shell.reconcile(KEY)
        if any(until in line for line in cluster.log):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(cluster.log)


def test_abort_waits_for_no_server_and_writes_weight_0_first(operator: SimOperator) -> None:
    """With every model server hanging, proof of failure writes weight 0, then the status, then the rest."""
    operator.world.edit(102)
    run_until(operator, in_stage("Progressing"))
    run_until(operator, lambda op: op.world.weight() == 50)
    analysis = {**SPEC["analysis"], "interval": "10ms"}
    operator.world.spec = {**operator.world.spec, "analysis": analysis}
    operator.world.bad = {102}
    cluster = FakeCluster(operator.world)
    shell = reconciler(cluster)
    operator.loop.run_until_complete(run_passes(shell, cluster, "RollingBack"))
    announced = cluster.log.index("status RollingBack")
    assert cluster.log[announced - 1] == "apply HTTPRoute 0"
    assert "warning AnalysisFailed" in cluster.log[announced:]
    shell.forget(KEY)


def test_settled_object_is_not_written(operator: SimOperator) -> None:
    """A new process that finds everything as it should be writes nothing, however often it looks."""
    cluster = FakeCluster(operator.world)
    shell = reconciler(cluster)

    async def look() -> None:
        for _ in range(5):
            await shell.reconcile(KEY)

    operator.loop.run_until_complete(look())
    assert cluster.log == []
    shell.forget(KEY)


def test_refused_write_is_told_once_and_stops_nothing_else(operator: SimOperator) -> None:
    """A quota that refuses the canary's Deployment becomes Stalled and one event; other objects are still written."""
    operator.world.edit(102)
    cluster = FakeCluster(operator.world, refuse="Deployment")
    shell = reconciler(cluster)

    async def look() -> None:
        for _ in range(5):
            await shell.reconcile(KEY)

    operator.loop.run_until_complete(look())
    stalled = [c for c in operator.world.status["conditions"] if c["type"] == "Stalled"]
    assert [(c["reason"], "exceeded quota" in c["message"]) for c in stalled] == [("WriteRefused", True)]
    assert cluster.log.count("warning WriteRefused") == 1
    assert "apply ConfigMap" in cluster.log
    shell.forget(KEY)


def test_spec_that_cannot_be_read_is_told_and_changes_nothing(operator: SimOperator) -> None:
    """Bad input that got past the schema stalls its own object and leaves the state of the rollout alone."""
    before = operator.world.status["stable"]
    operator.world.spec = {**operator.world.spec, "strategy": {}}
    cluster = FakeCluster(operator.world)
    shell = reconciler(cluster)
    operator.loop.run_until_complete(shell.reconcile(KEY))
    assert cluster.log == ["status None", "warning InvalidSpec"]
    assert operator.world.status["stable"] == before
    operator.loop.run_until_complete(shell.reconcile(KEY))
    assert len(cluster.log) == 2
