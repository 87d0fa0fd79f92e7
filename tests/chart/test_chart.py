"""The chart as Helm renders it: nothing loose, and no right that is not needed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from playground.paths import REPOSITORY
from tests.chart.helm import CHART, EVERYTHING, RENDERS, of_kind, parse

if TYPE_CHECKING:
    from tests.chart.helm import Helm, Render

# Helm is built by the first test that needs it.
pytestmark = pytest.mark.timeout(1800)

DEFINITION = REPOSITORY / "crds" / "modelrollouts.yaml"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
NODES = {"nodes", "pods"}


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    """`helm lint --strict`, with everything switched on."""
    done = helm.run("lint", "--strict", CHART, "-f", EVERYTHING)
    assert done.returncode == 0, done.stdout + done.stderr


def test_definition_is_the_one_file(helm: Helm) -> None:
    """The chart's definition is that of crds/, word for word, and stays when the release goes."""
    source = yaml.safe_load(DEFINITION.read_text())
    assert yaml.safe_load((CHART / "files" / "modelrollouts.yaml").read_text()) == source
    (kept,) = of_kind(helm.template(), "CustomResourceDefinition")
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert kept == source
    (plain,) = of_kind(helm.template("crds.keep=false"), "CustomResourceDefinition")
    assert plain == source
    assert not of_kind(helm.template("crds.enabled=false"), "CustomResourceDefinition")


@pytest.mark.parametrize("render", RENDERS, ids=lambda render: render.kept.stem)
def test_what_is_kept_is_what_helm_makes(helm: Helm, render: Render) -> None:
    """What `make demo` installs, and what is reviewed, is what users install; `make chart` writes it anew."""
    rendered = parse(helm.render("-f", render.values))
    assert sorted(map(json.dumps, render.objects)) == sorted(map(json.dumps, rendered))


@pytest.mark.parametrize("values", [(), ("watchNamespaces={a,b}",)], ids=["cluster", "namespaces"])
def test_no_right_is_a_wildcard(helm: Helm, values: tuple[str, ...]) -> None:
    """Every verb and resource is named; secrets, and the writing of ModelRollouts, are not among them."""
    objects = helm.template("rbac.aggregate=false", *values)
    for role in of_kind(objects, "Role") + of_kind(objects, "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert "secrets" not in rule["resources"]
            if "modelrollouts" in rule["resources"]:
                assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_a_namespaced_operator_has_no_rights_elsewhere(helm: Helm) -> None:
    """With `watchNamespaces` only the reading of nodes is left cluster-wide, and that can be had without."""
    objects = helm.template("watchNamespaces={a,b}", "rbac.aggregate=false")
    (capacity,) = of_kind(objects, "ClusterRole")
    assert [(set(rule["resources"]), rule["verbs"]) for rule in capacity["rules"]] == [(NODES, ["list"])]
    places = {role["metadata"]["namespace"] for role in of_kind(objects, "Role")}
    assert places == {"a", "b", "modelrollout-system"}
    without = helm.template("watchNamespaces={a}", "rbac.aggregate=false", "capacity.readNodes=false")
    assert not of_kind(without, "ClusterRole")


def test_users_roles_do_not_reach_status(helm: Helm) -> None:
    """view, edit and admin get ModelRollouts; `status` is the operator's alone."""
    roles = [role for role in of_kind(helm.template(), "ClusterRole") if "rules" in role]
    aggregated = {
        label.removeprefix("rbac.authorization.k8s.io/aggregate-to-"): role
        for role in roles
        for label in role["metadata"]["labels"]
        if "aggregate-to" in label
    }
    assert set(aggregated) == {"view", "edit", "admin"}
    resources = {resource for role in aggregated.values() for rule in role["rules"] for resource in rule["resources"]}
    assert resources == {"modelrollouts", "modelrollouts/scale"}


def test_pods_are_restricted(helm: Helm) -> None:
    """What the Pod Security Standard "restricted" asks for, and a root file system that nobody writes to."""
    (deployment,) = of_kind(helm.template(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert {next(key for key in volume if key != "name") for volume in pod["volumes"]} == {"emptyDir"}


def test_two_replicas_need_an_election(helm: Helm) -> None:
    """Two that do not elect would both act; the chart refuses that."""
    assert "leaderElection" in helm.refusal("leaderElection.enabled=false")
    alone = helm.template("leaderElection.enabled=false", "replicas=1")
    assert not of_kind(alone, "PodDisruptionBudget")
    assert of_kind(helm.template(), "PodDisruptionBudget")


@pytest.mark.parametrize(
    "value", ["replicas=none", "image.digest=latest", "monitoring.kind=Prometheus", "replica=2", "logging.level=LOUD"]
)
def test_wrong_values_are_refused(helm: Helm, value: str) -> None:
    """A typing error in a value is told, not ignored."""
    key = value.partition("=")[0].rpartition(".")[2]
    assert key in helm.refusal(value)


def test_image_can_be_pinned(helm: Helm) -> None:
    """A digest wins over the tag."""
    digest = f"sha256:{'0' * 64}"
    (deployment,) = of_kind(helm.template(f"image.digest={digest}", "image.tag=x"), "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"modelrollout@{digest}")


def test_every_alert_has_a_runbook() -> None:
    """Alert and page have the same name, and no page is left over."""
    rules: dict[str, Any] = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert {alert["alert"] for alert in alerts} == {page.stem for page in RUNBOOKS.glob("*.md")}
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"RUNBOOKS/{alert['alert']}.md"
        assert "$labels" not in alert["annotations"]["summary"]


def test_rules_and_dashboard_ask_for_series_that_there_are() -> None:
    """Every series of ours that is asked for is one that the operator serves."""
    from modelrollout.metrics import GpuCollector, collected, exposition

    families = [*text_string_to_metric_families(exposition("", collected())[0].decode()), *GpuCollector(list).collect()]
    served = {name for family in families for name in (family.name, f"{family.name}_total")}
    asked = (CHART / "files" / "rules.yaml").read_text() + (CHART / "files" / "dashboard.json").read_text()
    names = set(re.findall(r"\b(modelrollout_\w+)", asked))
    assert names
    assert names <= served
