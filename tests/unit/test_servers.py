"""The model server adapter against a gRPC server with canned replies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.snapshot import LoadState, ServerReport, VersionState
from modelrollout.errors import ReloadRefused, ServerUnavailable
from tests.unit.canned_server import Canned, serving

TARGET = ModelTarget("m", "/models/m", (101, 102), (("stable", 101),))


async def test_a_report_tells_states_labels_and_what_answers() -> None:
    """Versions with their errors, labels that resolve, and versions whose metadata came."""
    states = {102: (50, 5, "no such directory"), 101: (30, 0, ""), 100: (40, 0, "")}
    async with serving(Canned(states, {"stable": 101})) as servers:
        report = await servers.report("127.0.0.1", "m")
    assert report == ServerReport(
        versions=(
            VersionState(102, LoadState.END, "no such directory"),
            VersionState(101, LoadState.AVAILABLE),
            VersionState(100, LoadState.UNLOADING),
        ),
        labels={"stable": 101},
        answering=frozenset({101}),
    )


async def test_a_version_that_answers_for_a_label_is_not_asked_for_again() -> None:
    """Thousands of servers are asked; a version without a label still is."""
    canned = Canned({102: (30, 0, ""), 101: (30, 0, "")}, {"stable": 101})
    async with serving(canned) as servers:
        report = await servers.report("127.0.0.1", "m")
    assert report.answering == {101, 102}
    assert [spec.version.value for spec in canned.asked if spec.HasField("version")] == [102]


async def test_a_server_without_the_model_has_an_empty_report() -> None:
    """The server answers; the model is just not there yet."""
    canned = Canned(status_error=(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model m"))
    async with serving(canned) as servers:
        assert await servers.report("127.0.0.1", "m") == ServerReport()


@pytest.mark.parametrize(
    "error",
    [
        (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(m, 2)"),
        (grpc.StatusCode.UNAVAILABLE, "Model labels does not init yet.stable"),
    ],
)
async def test_a_label_that_does_not_resolve_is_left_out(error: tuple[grpc.StatusCode, str]) -> None:
    """Neither a dangling label nor a server without labels makes the report fail."""
    async with serving(Canned({101: (30, 0, "")}, label_error=error)) as servers:
        report = await servers.report("127.0.0.1", "m")
    assert (report.labels, report.answering) == ({}, frozenset({101}))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_a_server_that_cannot_answer_is_unavailable(code: grpc.StatusCode) -> None:
    """Its own words are in the error."""
    async with serving(Canned(status_error=(code, "busy"))) as servers:
        with pytest.raises(ServerUnavailable, match="busy"):
            await servers.report("127.0.0.1", "m")


async def test_nothing_that_listens_is_unavailable() -> None:
    """A refused connection is no report."""
    servers = GrpcModelServers(1)
    with pytest.raises(ServerUnavailable):
        await servers.report("127.0.0.1", "m")
    with pytest.raises(ServerUnavailable):
        await servers.reload("127.0.0.1", TARGET)
    await servers.close()


async def test_a_reload_sends_the_whole_configuration() -> None:
    """Versions, labels, path and platform arrive as they are meant."""
    canned = Canned()
    async with serving(canned) as servers:
        await servers.reload("127.0.0.1", TARGET)
    (config,) = canned.reloaded[0].config.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("m", "/models/m", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [101, 102]
    assert dict(config.version_labels) == {"stable": 101}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, ReloadRefused),
        (grpc.StatusCode.UNKNOWN, ReloadRefused),
        (grpc.StatusCode.UNAVAILABLE, ServerUnavailable),
    ],
)
async def test_a_refused_reload_is_told_from_one_without_answer(code: grpc.StatusCode, kind: type[Exception]) -> None:
    """Only a real answer says that the configuration was not taken."""
    async with serving(Canned(reload_error=(code, "not available for inference"))) as servers:
        with pytest.raises(kind, match="not available for inference"):
            await servers.reload("127.0.0.1", TARGET)


def open_files() -> int:
    """How many this process has, connections included."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_server_can_be_asked_again_after_its_channel_was_closed() -> None:
    """Servers come and go by the thousand, and idle ones are asked rarely: unused channels are closed by themselves."""
    async with serving(Canned({101: (30, 0, "")}), kept=1.0) as servers:
        before = open_files()
        for _ in range(2):
            for number in range(20):
                report = await servers.report(f"127.0.0.{number + 1}", "m")
                assert report.available == {101}
            await asyncio.sleep(3)
            assert open_files() <= before + 5
