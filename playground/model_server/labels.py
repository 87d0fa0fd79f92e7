"""Version labels: which version a request means by `stable` or `canary`. `core` replaces them at every reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.model_server.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

    from playground.model_server.states import StateMonitor


class Labels:
    """The map of labels, replaced as a whole or not at all."""

    def __init__(self, monitor: StateMonitor, *, allow_unavailable: bool) -> None:
        """`allow_unavailable`: a label that is new, or stays where it is, may name a version that is not loaded."""
        self._monitor = monitor
        self._allow_unavailable = allow_unavailable
        self._labels: dict[str, dict[str, int]] | None = None

    def replace(self, models: Iterable[ModelConfig]) -> None:
        """Take over the labels of a configuration; ServingError FAILED_PRECONDITION leaves the old ones."""
        models = list(models)
        for model in models:
            for label, version in model.version_labels.items():
                self._check(model.name, label, version)
        self._labels = {model.name: dict(model.version_labels) for model in models}

    def _check(self, name: str, label: str, version: int) -> None:
        if self._monitor.is_available(name, version):
            return
        before = (self._labels or {}).get(name, {}).get(label)
        if self._allow_unavailable and before in (None, version):
            return
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Request to assign label to version {version} of model {name}, "
            "which is not currently available for inference",
        )

    def version_of(self, spec: ModelSpec) -> int | None:
        """The version that a request asks for; None means the highest."""
        match spec.WhichOneof("version_choice"):
            case "version":
                return int(spec.version.value)
            case "version_label":
                return self._resolve(spec.name, spec.version_label)
            case _:
                return None

    def _resolve(self, name: str, label: str) -> int:
        if self._labels is None:
            raise ServingError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return version
