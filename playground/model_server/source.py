"""Looks at the disk for versions: TensorFlow Serving's FileSystemStoragePathSource. `core` configures and polls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playground.model_server.log import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorflow_serving.config.file_system_storage_path_source_pb2 import FileSystemStoragePathSourceConfig
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

    from playground.model_server.manager import Manager

    Policy = FileSystemStoragePathSourceConfig.ServableVersionPolicy


class DiskSource:
    """Tells the manager which versions of the configured models to have."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._models: dict[str, ModelConfig] = {}
        self._said: set[str] = set()

    @property
    def names(self) -> set[str]:
        """The models configured last."""
        return set(self._models)

    @property
    def base_paths(self) -> dict[str, Path]:
        """Where the configured models lie."""
        return {name: Path(model.base_path) for name, model in self._models.items()}

    def configure(self, models: Mapping[str, ModelConfig]) -> None:
        """Replace the models. Those that are gone lose their versions at once, the others wait for the next poll."""
        for name in self.names - set(models):
            self._manager.aspire(name, {})
        self._models = dict(models)
        self._said.clear()

    def poll(self) -> None:
        """Look at all models in order; the first whose base path is missing ends the round, so that none changes."""
        found = {}
        for name, model in self._models.items():
            children = _versions(model.base_path)
            if children is None:
                self._say(
                    f"Could not find base path {model.base_path} for servable {name} with error "
                    f"NOT_FOUND: {model.base_path} not found"
                )
                return
            found[name] = self._chosen(model, children)
        for name, versions in found.items():
            self._manager.aspire(name, versions)

    def _chosen(self, model: ModelConfig, children: dict[int, Path]) -> dict[int, Path]:
        if not children:
            self._say(f"No versions of servable {model.name} found under base path {model.base_path}")
        policy = model.model_version_policy
        match policy.WhichOneof("policy_choice"):
            case "all":
                return children
            case "specific":
                missing = [version for version in policy.specific.versions if version not in children]
                for version in missing:
                    self._say(f"Version {version} of servable {model.name}, which was requested to be served as a "
                              "'specific' version in the servable's version policy, was not found in the file system")  # fmt: skip  # noqa: E501
                return {version: children[version] for version in policy.specific.versions if version in children}
            case _:
                newest = sorted(children)[-max(1, policy.latest.num_versions) :]
                return {version: children[version] for version in newest}

    def _say(self, text: str) -> None:
        """Log once per configuration, not every poll: a pod's termination message is the end of its log."""
        if text not in self._said:
            self._said.add(text)
            log("W", "file_system_storage_path_source.cc", text)


def _versions(base_path: str) -> dict[int, Path] | None:
    """Numeric children, the last spelling of a number in sort order winning; None without the directory."""
    try:
        names = sorted(child.name for child in Path(base_path).iterdir())
    except OSError:
        return None
    return {int(name): Path(base_path, name) for name in names if name.isascii() and name.isdigit()}
