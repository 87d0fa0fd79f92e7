"""Model servers over gRPC: implements `ports.ModelServers`. Lives in the main event loop."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import text_format

from modelrollout.access import Fresh, ModelServerAccess
from modelrollout.adapters.protos import (
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelServerConfig,
    ModelServiceStub,
    ModelVersionStatus,
    PredictionServiceStub,
    ReloadConfigRequest,
)
from modelrollout.core.model_config import ModelTarget, render
from modelrollout.core.names import GRPC_PORT, Track
from modelrollout.core.snapshot import LoadState, ServerReport, VersionState
from modelrollout.errors import ClusterUnavailable, ReloadRefused, ServerUnavailable, UnusableFile
from modelrollout.ports import Fence

_REPORT_DEADLINE = 2.0
_RELOAD_DEADLINE = 10.0
_KEPT = 10.0
"""Seconds that an unused channel of 40 kB is kept: longer than the pause between questions while things change."""
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # A server that was down a moment ago is tried again at once, not after the default back-off of up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Signatures of large models exceed the default of 4 MB.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_NO_ANSWER = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_NO_LABELS_YET = "Model labels does not init yet"


@dataclass(slots=True)
class _Open:
    """A channel, what secures it, when it was last used, and by how many now."""

    channel: grpc.aio.Channel
    credentials: grpc.ChannelCredentials | None
    used: float = 0.0
    users: int = 0


class GrpcModelServers:
    """One channel per address, closed once it was not used for a while, or when our certificates were replaced."""

    def __init__(
        self,
        port: int = GRPC_PORT,
        kept: float = _KEPT,
        fence: Fence | None = None,
        access: ModelServerAccess | None = None,
    ) -> None:
        """`port` is every server's gRPC port; channels that were not used for `kept` seconds are closed."""
        self._fence = fence
        self._port = port
        self._kept = kept
        access = access or ModelServerAccess()
        self._credentials = Fresh(access.tls.files, lambda: _credentials(access))
        self._options = (*_OPTIONS, *([("grpc.ssl_target_name_override", access.name)] if access.name else ()))
        self._channels: dict[str, _Open] = {}
        self._clearing: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def report(self, ip: str, model: str) -> ServerReport:
        """Versions, labels `stable` and `canary`, and which versions answer. Raises ServerUnavailable."""
        try:
            with self._channel(ip) as channel:
                versions, labels = await asyncio.gather(
                    _versions(channel, model),
                    asyncio.gather(*(_resolve(channel, model, version_label=track.value) for track in Track)),
                )
                by_label = {track.value: found for track, found in zip(Track, labels, strict=True) if found is not None}
                available = {item.version for item in versions if item.state is LoadState.AVAILABLE}
                # A version that answers for a label answers: each request less counts with thousands of servers.
                shown = available.intersection(by_label.values())
                others = sorted(available - shown)
                answers = await asyncio.gather(*(_resolve(channel, model, version=version) for version in others))
        except UnusableFile as error:
            raise ServerUnavailable(str(error)) from error
        except grpc.aio.AioRpcError as error:
            raise ServerUnavailable(_told(error)) from error
        return ServerReport(
            versions=tuple(versions),
            labels=by_label,
            answering=frozenset(shown | {answer for answer in answers if answer is not None}),
        )

    async def reload(self, ip: str, target: ModelTarget) -> None:
        """Replace the configuration. Raises ReloadRefused, and ServerUnavailable (then it may have been taken)."""
        request = ReloadConfigRequest(config=text_format.Parse(render(target), ModelServerConfig()))
        try:
            with self._channel(ip) as channel:
                deadline = min(_RELOAD_DEADLINE, self._fence.permit()) if self._fence else _RELOAD_DEADLINE
                answer = await ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=deadline)
        except (ClusterUnavailable, UnusableFile) as error:
            raise ReloadRefused(str(error)) from error
        except grpc.aio.AioRpcError as error:
            raise (ServerUnavailable if error.code() in _NO_ANSWER else ReloadRefused)(_told(error)) from error
        if answer.status.error_code:
            raise ReloadRefused(answer.status.error_message or f"error code {answer.status.error_code}")

    async def close(self) -> None:
        """Close every channel."""
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None
        while self._channels:
            _, known = self._channels.popitem()
            await known.channel.close()

    @contextmanager
    def _channel(self, ip: str) -> Iterator[grpc.aio.Channel]:
        """The channel to use in the block. Raises UnusableFile."""
        credentials, loop = self._credentials.get(), asyncio.get_running_loop()
        known = self._channels.get(ip)
        if known is None or known.credentials is not credentials:
            self._leave(ip)
            known = self._channels[ip] = _Open(self._open(ip, credentials), credentials)
            self._clearing = self._clearing or loop.call_later(self._kept, self._close_unused)
        known.users += 1
        try:
            yield known.channel
        finally:
            known.users, known.used = known.users - 1, loop.time()
            if not known.users and self._channels.get(ip) is not known:
                self._close(known)

    def _open(self, ip: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        address = f"[{ip}]:{self._port}" if ":" in ip else f"{ip}:{self._port}"
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=self._options)
        return grpc.aio.secure_channel(address, credentials, options=self._options)

    def _close_unused(self) -> None:
        """Now and then, as long as there are channels."""
        loop = asyncio.get_running_loop()
        for ip, known in list(self._channels.items()):
            if not known.users and known.used + self._kept <= loop.time():
                self._leave(ip)
        self._clearing = loop.call_later(self._kept, self._close_unused) if self._channels else None

    def _leave(self, ip: str) -> None:
        """Use this channel no more; whoever uses it last closes it."""
        known = self._channels.pop(ip, None)
        if known is not None and not known.users:
            self._close(known)

    def _close(self, known: _Open) -> None:
        task = asyncio.create_task(known.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _credentials(access: ModelServerAccess) -> grpc.ChannelCredentials | None:
    """None for plain gRPC. Raises UnusableFile: gRPC itself would only fail at each handshake."""
    access.check()
    ca, certificate, key = access.tls.ca, access.tls.certificate, access.tls.key
    if ca is None:
        return None
    if certificate is None or key is None:
        return grpc.ssl_channel_credentials(ca.content())
    return grpc.ssl_channel_credentials(ca.content(), key.content(), certificate.content())


async def _versions(channel: grpc.aio.Channel, model: str) -> list[VersionState]:
    """What GetModelStatus lists; nothing for a model that the server does not have."""
    request = GetModelStatusRequest()
    request.model_spec.name = model
    try:
        answer = await ModelServiceStub(channel).GetModelStatus(request, timeout=_REPORT_DEADLINE)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return []
        raise
    return [_version(status) for status in answer.model_version_status]


def _version(status: Any) -> VersionState:
    name = ModelVersionStatus.State.Name(status.state)
    state = LoadState(name) if name in LoadState.__members__ else LoadState.UNKNOWN
    error = ""
    if status.status.error_code:
        error = status.status.error_message or f"error code {status.status.error_code}"
    return VersionState(int(status.version), state, error)


async def _resolve(channel: grpc.aio.Channel, model: str, **which: int | str) -> int | None:
    """The version that answers for a version or a label, by its metadata; None when none does.

    GetModelStatus ignores labels, so only this shows what a label stands for.
    """
    request = GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    _set(request.model_spec, which)
    try:
        answer = await PredictionServiceStub(channel).GetModelMetadata(request, timeout=_REPORT_DEADLINE)
    except grpc.aio.AioRpcError as error:
        if error.code() in _NO_ANSWER and not (error.details() or "").startswith(_NO_LABELS_YET):
            raise
        return None
    return int(answer.model_spec.version.value)


def _set(model_spec: Any, which: Mapping[str, int | str]) -> None:
    if "version" in which:
        model_spec.version.value = which["version"]
    else:
        model_spec.version_label = which["version_label"]


def _told(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"
