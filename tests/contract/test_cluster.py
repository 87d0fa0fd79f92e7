"""The Kubernetes adapters and kopf's wiring on a real API server."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest
import yaml

from modelrollout.adapters.clock import uptime
from modelrollout.adapters.cluster import KubernetesCluster
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.kube import KubeClient, NotFound, connect, watch_session
from modelrollout.cache import ObjectCache
from modelrollout.core.manifests import Owner
from modelrollout.errors import ClusterUnavailable, Conflict, Refused
from modelrollout.handlers import WatchThread
from modelrollout.health import Pulse
from modelrollout.ports import Key
from modelrollout.resources import CHUNK, CONFIG_MAPS, HTTP_ROUTES, PODS, ROLLOUTS, Resource
from tests.golden.kubectl import kubeconfig_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.conftest import Rollouts

EXAMPLE = Path(__file__).parents[2] / "examples" / "smallest.yaml"


@pytest.fixture(scope="module")
def kubeconfig(rollouts: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A kubeconfig for the API server of these tests."""
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    path.write_text(yaml.safe_dump(kubeconfig_of(rollouts)))
    return str(path)


def changed(kubeconfig: str, part: str, key: str, value: str) -> str:
    """The path of a copy in which the cluster or the user has another value."""
    content, path = yaml.safe_load(Path(kubeconfig).read_text()), f"{kubeconfig}-{key}"
    content[f"{part}s"][0][part][key] = value
    Path(path).write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
async def client(kubeconfig: str) -> AsyncIterator[KubeClient]:
    """The operator's client."""
    credentials = Credentials(kubeconfig)
    await credentials.load()
    async with connect(credentials) as made:
        yield made
    await _all_closed()


async def _all_closed() -> None:
    """TLS is ended in both directions: a loop that closes earlier leaves its connections to the garbage collector."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(500):
        if len(loop._selector.get_map()) == 1:  # the loop's own pipe
            return
        await asyncio.sleep(0.01)


@pytest.fixture
async def rollout(client: KubeClient) -> AsyncIterator[dict[str, Any]]:
    """A stored ModelRollout with a name of its own."""
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"] = {"name": f"m{uuid4().hex[:12]}", "namespace": "default"}
    made = dict(await client.create(ROLLOUTS, "default", manifest))
    yield {**made, "kind": "ModelRollout"}
    await client.delete(ROLLOUTS, "default", made["metadata"]["name"], made["metadata"]["uid"])


def key_of(rollout: dict[str, Any]) -> Key:
    """Its key."""
    return Key("default", rollout["metadata"]["name"])


def config_map(rollout: dict[str, Any], **data: str) -> dict[str, Any]:
    """A child that the rollout owns."""
    owner = Owner(rollout["metadata"]["name"], "default", rollout["metadata"]["uid"])
    metadata = owner.metadata(f"{owner.name}-stable")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_an_applied_object_is_in_the_view_at_once(client: KubeClient, rollout: dict[str, Any]) -> None:
    """A pass sees its own writes; the same apply again changes nothing, not even the resourceVersion."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    await cluster.apply(key, config_map(rollout, a="1"), create=True)
    (first,) = cache.children(key)
    await cluster.apply(key, config_map(rollout, a="1"), create=False)
    (second,) = cache.children(key)
    assert first["data"] == {"a": "1"}
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_a_strangers_object_is_shown_and_not_written(client: KubeClient, rollout: dict[str, Any]) -> None:
    """A name that is taken stays with whoever has it."""
    cache, key = ObjectCache(), key_of(rollout)
    name = f"{key.name}-stable"
    theirs = {"metadata": {"name": name, "namespace": "default"}, "data": {"whose": "theirs"}}
    await client.create(CONFIG_MAPS, "default", theirs)
    await KubernetesCluster(client, cache).apply(key, config_map(rollout, whose="ours"), create=True)
    (shown,) = cache.children(key)
    assert shown["data"] == {"whose": "theirs"}
    assert (await client.get(CONFIG_MAPS, "default", name))["data"] == {"whose": "theirs"}


async def test_an_object_that_went_is_not_made_again_by_an_update(client: KubeClient, rollout: dict[str, Any]) -> None:
    """A child that was deleted, or made anew by somebody, since it was seen is a conflict: the next pass decides."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    await cluster.apply(key, config_map(rollout, a="1"), create=True)
    (seen,) = cache.children(key)
    await client.delete(CONFIG_MAPS, "default", seen["metadata"]["name"], seen["metadata"]["uid"])
    with pytest.raises(Conflict):
        await cluster.apply(key, config_map(rollout, a="2"), create=False)
    assert not list(cache.children(key))
    cache = ObjectCache()
    cache.put(CONFIG_MAPS, seen)
    cluster = KubernetesCluster(client, cache)
    theirs = {"metadata": {"name": seen["metadata"]["name"], "namespace": "default"}}
    await client.create(CONFIG_MAPS, "default", theirs)
    with pytest.raises(Conflict):
        await cluster.apply(key, config_map(rollout, a="2"), create=False)
    (shown,) = cache.children(key)
    assert shown["metadata"]["uid"] != seen["metadata"]["uid"]


async def test_only_that_very_object_is_deleted(client: KubeClient, rollout: dict[str, Any]) -> None:
    """Another object of the same name survives, and one that is gone is no error."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    await cluster.apply(key, config_map(rollout), create=True)
    (mine,) = cache.children(key)
    name, uid = mine["metadata"]["name"], mine["metadata"]["uid"]
    await cluster.delete(key, "ConfigMap", name, "another-uid")
    assert await client.find(CONFIG_MAPS, "default", name)
    await cluster.delete(key, "ConfigMap", name, uid)
    await cluster.delete(key, "ConfigMap", name, uid)
    assert await client.find(CONFIG_MAPS, "default", name) is None
    assert not list(cache.children(key))


async def test_status_becomes_exactly_what_is_written(client: KubeClient, rollout: dict[str, Any]) -> None:
    """Removed keys go at every level, and the view shows the write."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    first = {"phase": "Progressing", "message": "x", "rollout": {"attempt": 1, "reason": "r"}}
    await cluster.write_status(key, rollout, first)
    seen = cache.rollout(key)
    assert seen is not None
    second = {"phase": "Healthy", "rollout": {"attempt": 1}}
    await cluster.write_status(key, seen, second)
    now = cache.rollout(key)
    assert now is not None
    assert now["status"] == second
    assert now["spec"] == rollout["spec"]


async def test_a_status_on_an_old_version_is_a_conflict(client: KubeClient, rollout: dict[str, Any]) -> None:
    """What was decided on a stale view is not written; the view is right for the next pass."""
    cache, key = ObjectCache(), key_of(rollout)
    cache.put(ROLLOUTS, rollout)
    await KubernetesCluster(client, ObjectCache()).write_status(key, rollout, {"phase": "Healthy"})
    cluster = KubernetesCluster(client, cache)
    with pytest.raises(Conflict):
        await cluster.write_status(key, rollout, {"phase": "Degraded"})
    fresh = cache.rollout(key)
    assert fresh is not None
    assert fresh["status"]["phase"] == "Healthy"
    with pytest.raises(Conflict):
        await cluster.write_status(Key("default", "gone"), rollout, {"phase": "Healthy"})


async def test_a_pod_is_annotated_and_a_missing_one_is_fine(client: KubeClient, rollout: dict[str, Any]) -> None:
    """Pods go at any time."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    pod = {"metadata": {"name": key.name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await client.create(PODS, "default", pod)
    await cluster.annotate_pod(key, key.name, "modelrollout.io/config-hash", "1")
    await cluster.annotate_pod(key, "gone", "modelrollout.io/config-hash", "1")
    annotations = (await client.get(PODS, "default", key.name))["metadata"]["annotations"]
    assert annotations["modelrollout.io/config-hash"] == "1"


async def test_errors_carry_the_servers_own_words(client: KubeClient, kubeconfig: str) -> None:
    """A refusal names the field; a missing kind its path; a server that is away is told as such."""
    manifest = {"apiVersion": ROLLOUTS.api_version, "kind": "ModelRollout", "metadata": {"name": "x"}, "spec": {}}
    with pytest.raises(Refused, match=r"spec\.model"):
        await client.create(ROLLOUTS, "default", manifest)
    unknown = replace(HTTP_ROUTES, version="v7")
    with pytest.raises(NotFound, match="httproutes"):
        await client.get(unknown, "default", "x")
    assert await client.list_watched(unknown, None) is None
    credentials = Credentials(changed(kubeconfig, "cluster", "server", "https://127.0.0.1:1"))
    await credentials.load()
    async with connect(credentials) as unreachable:
        with pytest.raises(ClusterUnavailable):
            await unreachable.get(PODS, "default", "x")


async def test_a_wrong_token_is_read_again(kubeconfig: str) -> None:
    """After the token in the kubeconfig was changed, the next request works."""
    path = changed(kubeconfig, "user", "token", "old")
    credentials = Credentials(path)
    await credentials.load()
    async with connect(credentials) as late:
        with pytest.raises(ClusterUnavailable, match="401"):
            await late.get(PODS, "default", "x")
        shutil.copy(kubeconfig, path)
        assert await late.find(PODS, "default", "x") is None


async def test_listing_in_chunks_gives_everything(client: KubeClient, rollout: dict[str, Any]) -> None:
    """More objects than fit in one page are all there."""
    labels = {"chunk": rollout["metadata"]["name"]}
    for number in range(CHUNK + 20):
        body = {"metadata": {"name": f"{rollout['metadata']['name']}-{number}", "labels": labels}}
        await client.create(CONFIG_MAPS, "default", body)
    listing = await client.list(CONFIG_MAPS, "default", f"chunk={labels['chunk']}")
    assert len({item["metadata"]["name"] for item in listing.items}) == CHUNK + 20
    assert listing.version > 0


async def test_listings_are_lean_and_those_of_watches_empty(
    client: KubeClient, rollout: dict[str, Any], kubeconfig: str
) -> None:
    """What nobody reads is gone before anything holds it. kopf only learns from when on to watch."""
    await client.create(CONFIG_MAPS, "default", config_map(rollout, key="value"))
    listing = await client.list_watched(CONFIG_MAPS, "default")
    assert listing is not None
    server, session = await watch_session(Credentials(kubeconfig), aiohttp.TraceConfig())
    async with session, session.get(server + CONFIG_MAPS.path("default"), params={"limit": "1"}) as response:
        answer = await response.json()
    name = f"{rollout['metadata']['name']}-stable"
    (found,) = (item for item in listing.items if item["metadata"]["name"] == name)
    assert (found["kind"], found["data"]) == ("ConfigMap", {"key": "value"})
    assert "managedFields" not in found["metadata"]
    assert answer["items"] == []
    assert answer["metadata"].keys() == {"resourceVersion"}
    assert int(answer["metadata"]["resourceVersion"]) >= listing.version


async def test_watches_deliver_what_concerns_us_and_write_nothing(
    client: KubeClient, rollout: dict[str, Any], kubeconfig: str
) -> None:
    """Changes of objects with our label come, others do not; kopf leaves no annotation, finalizer or status behind."""
    seen: asyncio.Queue[tuple[str, str | None, str]] = asyncio.Queue()

    def deliver(resource: Resource, event: str | None, obj: Any) -> None:
        seen.put_nowait((resource.kind, event, obj["metadata"]["name"]))

    watches = WatchThread(
        (ROLLOUTS, CONFIG_MAPS),
        ("default",),
        lambda trace: watch_session(Credentials(kubeconfig), trace),
        deliver,
        Pulse(uptime),
    )
    watches.start()
    name = rollout["metadata"]["name"]
    await watches.streams.listed.wait()
    await asyncio.sleep(2)  # the watches follow
    await client.merge_patch(ROLLOUTS, "default", name, {"metadata": {"labels": {"changed": "yes"}}})
    async with asyncio.timeout(60):
        while await seen.get() != ("ModelRollout", "MODIFIED", name):
            continue
    before = await client.get(ROLLOUTS, "default", name)
    await client.create(CONFIG_MAPS, "default", {"metadata": {"name": f"{name}-unlabelled"}})
    key, cluster = key_of(rollout), KubernetesCluster(client, ObjectCache())
    await cluster.apply(key, config_map(rollout), create=True)
    async with asyncio.timeout(60):
        while (event := await seen.get())[2] != f"{name}-stable":
            assert event[2] != f"{name}-unlabelled"
    watches.stop()
    async with asyncio.timeout(60):
        await watches.ended.wait()
    assert await client.get(ROLLOUTS, "default", name) == before
