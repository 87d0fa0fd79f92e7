"""What one model server is to have loaded, and the text of its `--model_config_file`.

docs/design.md, "Configuration of a pod".
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """The one model of a server: which versions it loads and which label names which version.

    `labels` are (label, version) pairs, sorted; `versions` are sorted. Two equal targets are the same configuration.
    """

    name: str
    base_path: str
    versions: tuple[int, ...]
    labels: tuple[tuple[str, int], ...]

    def label(self, name: str) -> int | None:
        """The version that a label stands for, None when it is not set."""
        return dict(self.labels).get(name)


def stable_target(name: str, base_path: str, versions: set[int], stable: int) -> ModelTarget:
    """Target of a stable pod: it serves label `stable`, and has `versions` loaded."""
    return ModelTarget(name, base_path, tuple(sorted(versions)), (("stable", stable),))


def canary_target(name: str, base_path: str, versions: set[int], canary: int) -> ModelTarget:
    """Target of a canary pod: both labels name its version, so requests that name either find it there."""
    return ModelTarget(name, base_path, tuple(sorted(versions)), (("canary", canary), ("stable", canary)))


def render(target: ModelTarget) -> str:
    """The target as text proto of `tensorflow.serving.ModelServerConfig`.

    Always `specific` versions: under `latest` one bad new directory takes a restarting server down.
    """
    versions = " ".join(f"versions: {v}" for v in target.versions)
    labels = "".join(f"    version_labels {{ key: {_quote(k)} value: {v} }}\n" for k, v in target.labels)
    return (
        "model_config_list {\n  config {\n"
        f"    name: {_quote(target.name)}\n"
        f"    base_path: {_quote(target.base_path)}\n"
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {versions} }} }}\n"
        f"{labels}  }}\n}}\n"
    )


def monitoring_config(path: str) -> str:
    """Text of `--monitoring_config_file`: Prometheus metrics on the REST port."""
    return f"prometheus_config {{ enable: true path: {_quote(path)} }}\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
