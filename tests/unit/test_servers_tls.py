"""TLS between the operator and model servers, against a real gRPC server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelrollout.access import ModelServerAccess
from modelrollout.core.model_config import ModelTarget
from modelrollout.errors import ReloadRefused, ServerUnavailable
from tests.unit.canned_server import Canned, serving
from tests.unit.certificates import Authority, Mounted

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS, STRANGER = Authority(), Authority(), Authority()
LOADED = Canned({101: (30, 0, "")})
TARGET = ModelTarget("m", "/models/m", (101,), ())


async def test_a_server_of_the_authority_is_spoken_to(tmp_path: Path) -> None:
    """Its certificate is for the pod's IP."""
    access = ModelServerAccess(Mounted(tmp_path).tls(THEIRS))
    async with serving(LOADED, credentials=THEIRS.grpc_server("127.0.0.1"), access=access) as servers:
        assert (await servers.report("127.0.0.1", "m")).available == {101}


async def test_certificates_may_be_for_a_name(tmp_path: Path) -> None:
    """Pods come and go with their addresses; what certificates are for is set once."""
    named = THEIRS.grpc_server("models.internal")
    tls = Mounted(tmp_path).tls(THEIRS)
    async with serving(LOADED, credentials=named, access=ModelServerAccess(tls, "models.internal")) as servers:
        assert (await servers.report("127.0.0.1", "m")).available == {101}
    async with serving(LOADED, credentials=named, access=ModelServerAccess(tls)) as servers:
        with pytest.raises(ServerUnavailable):
            await servers.report("127.0.0.1", "m")


async def test_a_strangers_server_is_not_spoken_to(tmp_path: Path) -> None:
    """Neither a report nor a reload call reaches a server of another authority, or one without TLS."""
    access = ModelServerAccess(Mounted(tmp_path).tls(THEIRS))
    canned = Canned({101: (30, 0, "")})
    for credentials in (STRANGER.grpc_server("127.0.0.1"), None):
        async with serving(canned, credentials=credentials, access=access) as servers:
            with pytest.raises(ServerUnavailable):
                await servers.report("127.0.0.1", "m")
            with pytest.raises(ServerUnavailable):
                await servers.reload("127.0.0.1", TARGET)
    assert not canned.reloaded


async def test_a_server_may_ask_who_we_are(tmp_path: Path) -> None:
    """With our certificate it answers, without it does not."""
    asking = THEIRS.grpc_server("127.0.0.1", clients=OURS)
    mounted = Mounted(tmp_path)
    async with serving(LOADED, credentials=asking, access=ModelServerAccess(mounted.tls(THEIRS, OURS))) as servers:
        await servers.reload("127.0.0.1", TARGET)
    async with serving(LOADED, credentials=asking, access=ModelServerAccess(mounted.tls(THEIRS))) as servers:
        with pytest.raises(ServerUnavailable):
            await servers.reload("127.0.0.1", TARGET)


async def test_another_certificate_is_used_at_once(tmp_path: Path) -> None:
    """A channel that is open is not kept when the files are replaced, in either direction."""
    mounted = Mounted(tmp_path)
    access = ModelServerAccess(mounted.tls(THEIRS, OURS))
    async with serving(LOADED, credentials=THEIRS.grpc_server("127.0.0.1", clients=OURS), access=access) as servers:
        await servers.report("127.0.0.1", "m")
        mounted.tls(THEIRS, STRANGER)
        with pytest.raises(ServerUnavailable):
            await servers.report("127.0.0.1", "m")
        mounted.tls(THEIRS, OURS)
        assert (await servers.report("127.0.0.1", "m")).available == {101}


async def test_a_file_that_cannot_be_used_is_told_by_flag_and_path(tmp_path: Path) -> None:
    """A report says so, and a reload call was surely not taken."""
    mounted = Mounted(tmp_path)
    access = ModelServerAccess(mounted.tls(THEIRS, OURS))
    mounted.put("ca", b"nonsense")
    async with serving(LOADED, credentials=THEIRS.grpc_server("127.0.0.1"), access=access) as servers:
        with pytest.raises(ServerUnavailable, match=r"--ca-file .*/ca: holds no certificate"):
            await servers.report("127.0.0.1", "m")
        with pytest.raises(ReloadRefused, match="--ca-file"):
            await servers.reload("127.0.0.1", TARGET)
