"""The chart's values, its schema and what is kept of its renders: what can be told without Helm."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from modelrollout.settings import load_settings
from playground import operator_pod
from tests.chart.helm import CHART, EVERYTHING, RENDERS, of_kind, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES_FILE = CHART / "values.yaml"
# Not set by the chart: a pod has the service account's files.
NOT_IN_A_POD = {"--help", "--kubeconfig"}
VARIABLE_OF = {"--namespace": "MODELROLLOUT_NAMESPACES"}


def keys(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every key of the values, as far down as the schema names them."""
    for key, value in values.items():
        yield f"{path}{key}"
        inner = schema["properties"].get(key, {})
        if "properties" in inner:
            yield from keys(value, inner, f"{path}{key}.")


def keys_of_schema(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every key that the schema names."""
    for key, inner in schema["properties"].items():
        yield f"{path}{key}"
        if "properties" in inner:
            yield from keys_of_schema(inner, f"{path}{key}.")


def read(name: str) -> dict[str, Any]:
    """The objects kept of one render, by kind; where there are several of a kind, the last."""
    (render,) = (each for each in RENDERS if each.kept.stem == name)
    return {each["kind"]: each for each in parse(render.kept.read_text())}


def environment(deployment: dict[str, Any]) -> dict[str, Any]:
    """The variables of the operator's container."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value") for entry in container["env"]}


def test_schema_and_values_have_the_same_keys() -> None:
    """What can be set has a default that can be read, and what can be read is checked."""
    values = yaml.safe_load(VALUES_FILE.read_text())
    assert set(keys(values, SCHEMA)) == set(keys_of_schema(SCHEMA)) - {"global"}
    jsonschema.validate(values, SCHEMA)


def test_every_value_is_documented() -> None:
    """Each key of values.yaml has a sentence above it, unless the keys under it have theirs."""
    lines = VALUES_FILE.read_text().splitlines()
    named = {}
    for number, line in enumerate(lines):
        if found := re.match(r"( *)([a-zA-Z]+):(.*)", line):
            depth = len(found[1])
            named[number] = (depth, bool(found[3].strip()))
    inside_documented = -1
    for number, (depth, has_value) in named.items():
        if 0 <= inside_documented < depth:
            continue  # part of one value
        documented = lines[number - 1].strip().startswith("# -- ")
        inside_documented = depth if documented else -1
        assert documented or not has_value, lines[number]


@pytest.mark.parametrize("render", RENDERS, ids=lambda render: render.kept.stem)
def test_schema_takes_what_is_rendered(render: Any) -> None:
    """The values behind each kept render are valid."""
    jsonschema.validate(yaml.safe_load(render.values.read_text()), SCHEMA)


def test_everything_leaves_nothing_out() -> None:
    """The render with everything switched on sets every key that there is, so a new one cannot be forgotten in it.

    All but one: a release has a list of namespaces, or a share by their labels.
    """
    left_out = {"global", "watchNamespaces"}
    assert set(keys(yaml.safe_load(EVERYTHING.read_text()), SCHEMA)) == set(keys_of_schema(SCHEMA)) - left_out


def test_chart_sets_every_flag_of_the_operator(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the operator can be told, the chart can tell it, and nothing that it does not know."""
    with pytest.raises(SystemExit):
        load_settings(["--help"], {})
    flags = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - NOT_IN_A_POD
    known = {VARIABLE_OF.get(flag, f"MODELROLLOUT_{flag[2:].upper().replace('-', '_')}") for flag in flags}
    told = {name for render in RENDERS for name in environment(read(render.kept.stem)["Deployment"])}
    assert {name for name in told if name.startswith("MODELROLLOUT_")} == known


def test_operator_accepts_what_the_chart_tells_it() -> None:
    """The variables of every render are settings that the operator starts with."""
    for render in RENDERS:
        (deployment,) = of_kind(render.objects, "Deployment")
        told = {name: value or "from-the-pod" for name, value in environment(deployment).items()}
        settings = load_settings([], told)
        assert settings.health is not None


def test_playground_runs_what_the_chart_installs() -> None:
    """The playground's operator has the chart's account, arguments and variables; it changes the port alone."""
    theirs, ours = environment(read("defaults")["Deployment"]), environment(read("operator")["Deployment"])
    assert {name for name in theirs if theirs[name] != ours[name]} == {"MODELROLLOUT_HEALTH_ADDRESS"}
    assert set(theirs) == set(ours)
    pod = operator_pod.pod()
    assert pod["spec"]["serviceAccountName"] == read("defaults")["ServiceAccount"]["metadata"]["name"]
    assert operator_pod.address().endswith(ours["MODELROLLOUT_HEALTH_ADDRESS"].rpartition(":")[2])


def test_catalogue_names_what_is_installed() -> None:
    """Image and definition that Artifact Hub shows are those of the chart."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    shown = {key: yaml.safe_load(chart["annotations"][f"artifacthub.io/{key}"])[0] for key in ("images", "crds")}
    (container,) = read("defaults")["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert shown["images"]["image"] == container["image"]
    definition = yaml.safe_load((CHART / "files" / "modelrollouts.yaml").read_text())
    kind, versions = definition["spec"]["names"]["kind"], [each["name"] for each in definition["spec"]["versions"]]
    told = shown["crds"]
    assert (told["name"], told["kind"], [told["version"]]) == (definition["metadata"]["name"], kind, versions)


def test_pods_are_placed_as_told() -> None:
    """Spread, priority, affinity, tolerations, node labels, grace and pull secrets reach the pod as they were given."""
    told = yaml.safe_load(EVERYTHING.read_text())
    spec = read("everything")["Deployment"]["spec"]["template"]["spec"]
    for key in (
        "topologySpreadConstraints",
        "priorityClassName",
        "affinity",
        "tolerations",
        "nodeSelector",
        "terminationGracePeriodSeconds",
        "imagePullSecrets",
    ):
        assert spec[key] == told[key], key
    for key in ("topologySpreadConstraints", "priorityClassName", "tolerations", "nodeSelector", "imagePullSecrets"):
        assert key not in read("defaults")["Deployment"]["spec"]["template"]["spec"], key


def test_container_gets_what_is_extra() -> None:
    """Further variables, volumes and mounts come beside the chart's own; a digest wins over the tag."""
    told = yaml.safe_load(EVERYTHING.read_text())
    spec = read("everything")["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert told["extraEnv"][0] in container["env"]
    assert told["extraVolumes"][0] in spec["volumes"]
    assert told["extraVolumeMounts"][0] in container["volumeMounts"]
    assert container["resources"] == told["resources"]
    assert container["image"] == f"{told['image']['repository']}@{told['image']['digest']}"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    template = read("everything")["Deployment"]["spec"]["template"]["metadata"]
    assert told["podLabels"].items() <= template["labels"].items()
    assert template["annotations"] == told["podAnnotations"]


def test_every_file_is_mounted() -> None:
    """Each file that a variable names lies in the read-only mount of a Secret that was named in the values."""
    for render in ("everything", "namespaced"):
        spec = read(render)["Deployment"]["spec"]["template"]["spec"]
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
        files = {name: value for name, value in environment(read(render)["Deployment"]).items() if "_FILE" in name}
        used = {mounts[file.rpartition("/")[0]]["name"] for file in files.values()}
        assert used == set(secrets)
        assert all(mounts[file.rpartition("/")[0]]["readOnly"] for file in files.values())
