"""The kubelet's rules about what a container gets and where it runs: environment, images, mounts, files, addresses."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from playground.node_agent import atomic_files
from playground.node_agent.addresses import Addresses, NoAddressError
from playground.node_agent.containers import restart_delay, restarts
from playground.node_agent.env import ConfigError, arguments, environment, expand, field_value, references
from playground.node_agent.images import SERVER_PROGRAM, known, program, repository
from playground.node_agent.launch import shadowed
from playground.node_agent.mounts import Bind, Volume, binds
from playground.node_agent.nodes import manifest, node_status, specs, taints
from playground.node_agent.volumes import MountError, host_path, payload


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--port=$(PORT)", "--port=8500"),
        ("$(PORT)$(PORT)", "85008500"),
        ("$(NOBODY)", "$(NOBODY)"),
        ("$$(PORT)", "$(PORT)"),
        ("$$$(PORT)", "$8500"),
        ("$PORT ${PORT} $(open", "$PORT ${PORT} $(open"),
    ],
)
def test_references(text: str, expected: str) -> None:
    """$(NAME) is replaced where NAME is known; $$ escapes."""
    assert expand(text, {"PORT": "8500"}) == expected
    assert arguments([text], {"PORT": "8500"}) == [expected]


POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"}, "annotations": {"x/y": "z"}},
    "spec": {"nodeName": "gpu-0"},
    "status": {"podIP": "10.244.1.2", "hostIP": "10.0.1.1"},
}

MAPS = {
    ("configmaps", "c"): {"data": {"k": "v"}, "binaryData": {"b": base64.b64encode(b"w").decode()}},
    ("secrets", "s"): {"data": {"k": base64.b64encode(b"hidden").decode()}},
}


def values(**container: Any) -> dict[str, str]:
    """The environment of a container of POD, where MAPS exist."""
    return environment(container, POD, lambda kind, name: MAPS.get((kind, name)))


def test_environment() -> None:
    """Values come from text, earlier values, the downward API, ConfigMaps and Secrets; later entries win."""
    found = values(
        envFrom=[{"configMapRef": {"name": "c"}, "prefix": "C_"}, {"secretRef": {"name": "no", "optional": True}}],
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(C_k)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "NO", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no", "optional": True}}},
            {"name": "EMPTY"},
        ],
    )
    assert found == {
        "C_k": "v", "C_b": "w", "A": "1", "B": "1v", "IP": "10.244.1.2", "S": "hidden", "EMPTY": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "s", "key": "no"}}, "couldn't find key no in Secret n/s"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "unsupported fieldPath: status.phase"),
        ({"resourceFieldRef": {}}, "valueFrom is not supported by the playground: resourceFieldRef"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    """A value that cannot be had keeps the container from starting, in words that name it."""
    with pytest.raises(ConfigError, match=message):
        values(env=[{"name": "A", "valueFrom": source}])


def test_every_lookup_is_announced() -> None:
    """What the environment looks up is known beforehand."""
    container = {
        "envFrom": [{"configMapRef": {"name": "a"}}],
        "env": [{"name": "X", "value": "1"}, {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}}],
    }
    assert references(container) == {("configmaps", "a"), ("secrets", "b")}


def test_labels_and_annotations_are_fields() -> None:
    """One label, one annotation, or all of them in the kubelet's notation; absent ones are empty."""
    assert field_value(POD, "metadata.labels['app']") == "a"
    assert field_value(POD, "metadata.annotations['x/y']") == "z"
    assert field_value(POD, "metadata.labels['no']") == ""
    assert field_value(POD, "metadata.labels") == 'app="a"'


@pytest.mark.parametrize(
    ("image", "name", "ours"),
    [
        ("tensorflow/serving", "tensorflow/serving", "tensorflow/serving"),
        ("tensorflow/serving:2.20.0-gpu", "tensorflow/serving", "tensorflow/serving"),
        ("here:5000/tensorflow/serving:1@sha256:ab", "here:5000/tensorflow/serving", "tensorflow/serving"),
        ("here:5000/x/tensorflow/serving", "here:5000/x/tensorflow/serving", "tensorflow/serving"),
        ("mytensorflow/serving", "mytensorflow/serving", None),
        ("nginx:latest", "nginx", None),
    ],
)  # fmt: skip
def test_images(image: str, name: str, ours: str | None) -> None:
    """An image is known by its repository, whatever its registry, tag or digest."""
    assert (repository(image), known(image)) == (name, ours)


@pytest.mark.parametrize(
    ("image", "command", "args", "expected", "first"),
    [
        ("tensorflow/serving", ["/x/tensorflow_model_server", "--a"], ["-b"], [*SERVER_PROGRAM, "--a", "-b"], True),
        ("tensorflow/serving", ["sh", "-c"], ["true"], ["sh", "-c", "true"], False),
        ("playground/sleep", [], [], ["sleep", "infinity"], False),
        ("playground/sleep", [], ["5"], ["sleep", "5"], False),
        ("playground/exec", ["sh"], ["-c", "true"], ["sh", "-c", "true"], False),
    ],
)  # fmt: skip
def test_programs(image: str, command: list[str], args: list[str], expected: list[str], *, first: bool) -> None:
    """The image chooses the program; the model server ignores SIGTERM like a process 1."""
    assert program(image, command, args, {}) == (expected, first)


def test_the_image_s_own_entry_point_adds_its_flags() -> None:
    """Without a command the model's name and path come from the environment, before the container's arguments."""
    words, _ = program("tensorflow/serving", [], ["--x"], {"MODEL_NAME": "recsys"})
    assert words[len(SERVER_PROGRAM) :] == [
        "--port=8500", "--rest_api_port=8501", "--model_name=recsys", "--model_base_path=/models/recsys", "--x",
    ]  # fmt: skip


def test_mounts() -> None:
    """Outer directories come before inner ones; read-only is said by the volume or by the mount; subPath narrows."""
    volumes = {"m": Volume(Path("/v/m")), "c": Volume(Path("/v/c"), read_only=True)}
    mounts = [
        {"name": "c", "mountPath": "/models/config/x", "subPath": "x"},
        {"name": "m", "mountPath": "/models", "readOnly": True},
        {"name": "m", "mountPath": "/data", "subPathExpr": "$(POD)"},
    ]
    assert binds({"volumeMounts": mounts}, volumes, {"POD": "p"}) == (
        Bind(Path("/v/m/p"), "/data", read_only=False),
        Bind(Path("/v/m"), "/models", read_only=True),
        Bind(Path("/v/c/x"), "/models/config/x", read_only=True),
    )


@pytest.mark.parametrize("below", ["../other", "/etc", "a/../../b"])
def test_a_sub_path_stays_in_its_volume(below: str) -> None:
    """A subPath that leads elsewhere is refused."""
    with pytest.raises(ConfigError, match="must not leave its volume"):
        binds({"volumeMounts": [{"name": "m", "mountPath": "/x", "subPath": below}]}, {"m": Volume(Path("/v"))}, {})


def test_only_the_way_to_a_mount_is_made_anew() -> None:
    """Directories above a mount point become the container's own; the mount point and its neighbours do not."""
    assert shadowed(["/etc/model-config", "/models"]) == {"/etc"}
    assert shadowed(["/var/lib/a/b"]) == {"/var", "/var/lib", "/var/lib/a"}


def files(**contents: str) -> dict[str, atomic_files.File]:
    """Files with `contents`; two underscores in a name stand for a slash."""
    return {name.replace("__", "/"): atomic_files.File(text.encode()) for name, text in contents.items()}


def test_files_change_all_at_once(tmp_path: Path) -> None:
    """A reader that holds the old directory sees old files only; the links lead to the new ones."""
    assert atomic_files.write(tmp_path, files(a="1", b="1", sub__c="1"))
    held = (tmp_path / "..data").resolve()
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert atomic_files.write(tmp_path, files(a="2", sub__c="2", d="2"))
    assert not held.exists()
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("..")} == {"a", "sub", "d"}
    assert (tmp_path / "sub/c").read_text() == (tmp_path / "a").read_text() == "2"


def test_equal_files_are_not_written(tmp_path: Path) -> None:
    """What is there already stays the same directory."""
    atomic_files.write(tmp_path, files(a="1"))
    before = (tmp_path / "..data").readlink()
    assert not atomic_files.write(tmp_path, files(a="1"))
    assert (tmp_path / "..data").readlink() == before


def test_items_choose_keys_and_modes() -> None:
    """Items give keys a path and a mode; a key that is not there is an error unless the source is optional."""
    source: dict[str, Any] = {"items": [{"key": "k", "path": "x/y", "mode": 0o600}, {"key": "no", "path": "z"}]}
    assert payload({"k": b"v"}, source | {"optional": True}, 0o644) == {"x/y": atomic_files.File(b"v", 0o600)}
    with pytest.raises(MountError, match="non-existent config key: no"):
        payload({"k": b"v"}, source, 0o644)


def test_host_paths(tmp_path: Path) -> None:
    """A directory that must be there is missed; one that may be made is made."""
    with pytest.raises(MountError, match="is not a directory"):
        host_path(str(tmp_path / "no"), "Directory")
    assert host_path(str(tmp_path / "a/b"), "DirectoryOrCreate").is_dir()
    assert host_path(str(tmp_path / "c"), "").is_dir()
    with pytest.raises(MountError, match="is not a file"):
        host_path(str(tmp_path / "c"), "File")


def test_back_off_doubles_up_to_thirty_times() -> None:
    """The first restart is immediate; then 10 s, doubling, never more than five minutes."""
    assert [restart_delay(crashes, 10) for crashes in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert restart_delay(100_000, 10) == 300


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policies(policy: str, code: int, *, again: bool) -> None:
    """Always restarts, OnFailure restarts a failure, Never does not."""
    assert restarts(policy, code) is again


def test_addresses_rest_before_they_are_used_again() -> None:
    """An address that was given back comes last; none is given twice; an earlier agent's are left out at first."""
    addresses = Addresses("10.244.1")
    first = addresses.take()
    addresses.release(first)
    assert first == "10.244.1.2"
    assert addresses.take() == "10.244.1.3"
    addresses.skip("10.244.1.9")
    addresses.skip("10.244.2.99")
    taken = {addresses.take() for _ in range(252)}
    assert len(taken) == 252
    assert first in taken
    with pytest.raises(NoAddressError):
        addresses.take()


def test_default_nodes() -> None:
    """There is a node with four GPUs, one with seven MIG slices and one with neither, each with room for 60 pods."""
    shown = {node.name: node_status(node, manifest(node), online=True)["allocatable"] for node in specs(None)}
    assert shown["gpu-0"]["nvidia.com/gpu"] == "4"
    assert shown["mig-0"]["nvidia.com/mig-1g.10gb"] == "7"
    assert not [resource for resource in shown["cpu-0"] if resource.startswith("nvidia.com")]
    assert {room["pods"] for room in shown.values()} == {"60"}


def test_nodes_from_a_file(tmp_path: Path) -> None:
    """A file chooses other nodes with resources, labels and taints."""
    file = tmp_path / "nodes.yaml"
    taint = "{key: nvidia.com/gpu, effect: NoSchedule}"
    file.write_text(f"- {{name: a, resources: {{nvidia.com/gpu: 8}}, labels: {{x: y}}, taints: [{taint}], pods: 9}}")
    (node,) = specs(file)
    assert manifest(node)["metadata"]["labels"]["x"] == "y"
    assert node_status(node, manifest(node), online=True)["capacity"]["nvidia.com/gpu"] == "8"
    assert manifest(node)["spec"]["taints"] == [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]


def test_a_node_s_taints_say_whether_it_can_be_reached() -> None:
    """The not-ready taint goes when the node is there; other people's taints stay; a lost node gets its own."""
    (node, *_) = specs(None)
    theirs = {"key": "theirs", "effect": "NoSchedule"}
    shown = {"spec": {"taints": [theirs, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}}
    assert taints(node, shown, online=True) == [theirs]
    lost = taints(node, shown, online=False)
    assert [taint["effect"] for taint in lost] == ["NoSchedule", "NoSchedule", "NoExecute"]
    assert lost[1]["key"] == "node.kubernetes.io/unreachable"
