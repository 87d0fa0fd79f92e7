"""The chart's life on a real API server, with real Helm: installed, upgraded, uninstalled, and taken up again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RENDERS, of_kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chart.cluster import Cluster
    from tests.chart.helm import Helm, Render

# Helm is built by the first test that needs it.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

DEFINITION = "modelrollouts.modelrollout.io"
DEFINITION_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITION}"
NEW_FIELD = "historyLimit"
BUILT_IN = {"core", "apps", "policy", "rbac.authorization.k8s.io", "networking.k8s.io", "apiextensions.k8s.io"}


@dataclass(frozen=True)
class Release:
    """One release of the chart in a cluster."""

    helm: Helm
    cluster: Cluster
    name: str = "modelrollout"

    def __call__(self, verb: str, *arguments: str | Path) -> str:
        """Have Helm do something with it; what it says."""
        where = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", NAMESPACE)
        done = self.helm.run(verb, self.name, *arguments, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, *arguments: str | Path, chart: Path = CHART) -> str:
        """Into its namespace, which is made."""
        return self("install", chart, "--create-namespace", *arguments)

    def definition(self) -> dict[str, Any] | None:
        """The custom resource definition as the server has it."""
        return self.cluster.get(DEFINITION_PATH)

    def fields(self) -> set[str]:
        """What `spec` may have by that definition."""
        definition = self.definition()
        assert definition is not None
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return set(schema["properties"]["spec"]["properties"])

    def deployment(self) -> dict[str, Any] | None:
        """The operator's."""
        return self.cluster.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{self.name}")

    def replicas(self) -> int:
        """How many of it there are to be."""
        deployment = self.deployment()
        assert deployment is not None
        count: int = deployment["spec"]["replicas"]
        return count

    def role(self) -> dict[str, Any] | None:
        """Its rights in the whole cluster."""
        return self.cluster.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{self.name}")


@pytest.fixture
def release(helm: Helm, cluster: Cluster) -> Iterator[Release]:
    """A release that is yet to be installed; nothing is left of it, nor of the definition, at the end."""
    made = Release(helm, cluster)
    yield made
    helm.run("uninstall", made.name, "--kubeconfig", cluster.kubeconfig, "--namespace", NAMESPACE)
    cluster.delete(DEFINITION_PATH)


def test_the_definition_outlives_the_release(release: Release) -> None:
    """Uninstalling takes the operator and its rights away and leaves the definition, so every ModelRollout; then it can
    be installed again.
    """
    told = release.install()
    assert "rollout status deployment/modelrollout" in told
    assert release.deployment() is not None
    assert release.role() is not None
    release("uninstall")
    assert release.definition() is not None
    assert release.deployment() is None
    assert release.role() is None
    release.install()
    assert release.deployment() is not None


def test_an_upgrade_changes_what_was_set(release: Release) -> None:
    """Other values reach the objects; rights in the whole cluster go when namespaces are named."""
    release.install()
    release("upgrade", CHART, "--set", "replicas=3", "--set", "watchNamespaces={default}")
    assert release.replicas() == 3
    assert release.role() is None
    assert release.cluster.get("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/modelrollout") is not None
    release("upgrade", CHART, "--reset-values")
    assert release.replicas() == 2
    assert release.role() is not None


def test_an_upgrade_brings_new_fields(release: Release, tmp_path: Path) -> None:
    """A definition of a release before, without a field, gets it: Helm's own folder for definitions would not."""
    old = tmp_path / "modelrollout"
    shutil.copytree(CHART, old)
    file = old / "files" / "modelrollouts.yaml"
    definition = yaml.safe_load(file.read_text())
    for version in definition["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][NEW_FIELD]
    text = yaml.safe_dump({"metadata": {"name": DEFINITION}}, sort_keys=False)
    rest = yaml.safe_dump({key: value for key, value in definition.items() if key != "metadata"}, sort_keys=False)
    file.write_text(text + rest)
    release.install(chart=old)
    assert NEW_FIELD not in release.fields()
    release("upgrade", CHART)
    assert NEW_FIELD in release.fields()


def test_a_definition_of_somebody_else_is_left_alone(release: Release) -> None:
    """With `crds.enabled=false` one that is there already is neither adopted nor taken away."""
    theirs = yaml.safe_load((CHART / "files" / "modelrollouts.yaml").read_text())
    release.cluster.apply(theirs, dry_run=False)
    told = release.install("--set", "crds.enabled=false")
    assert "kubectl apply --server-side -f crds/modelrollouts.yaml" in told
    release("uninstall")
    left = release.definition()
    assert left is not None
    assert "helm.sh/resource-policy" not in left["metadata"].get("annotations", {})


@pytest.mark.parametrize("render", RENDERS, ids=lambda render: render.kept.stem)
def test_the_api_server_takes_every_object(cluster: Cluster, render: Render) -> None:
    """No field is unknown, doubled or of the wrong type, for every object whose kind is Kubernetes' own."""
    cluster.make_namespaces(render.objects)
    checked = [obj for obj in render.objects if (obj["apiVersion"].rpartition("/")[0] or "core") in BUILT_IN]
    for obj in checked:
        cluster.apply(obj)
    assert of_kind(checked, "Deployment")


@pytest.mark.parametrize("render", RENDERS, ids=lambda render: render.kept.stem)
def test_pods_meet_the_restricted_standard(cluster: Cluster, render: Render) -> None:
    """A namespace that enforces the Pod Security Standard "restricted" takes the operator's pod, and none without its
    security context.
    """
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}}
    cluster.apply(namespace, dry_run=False)
    (deployment,) = of_kind(render.objects, "Deployment")
    template = deployment["spec"]["template"]
    metadata = {"name": "operator", "namespace": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    loose = {key: value for key, value in template["spec"].items() if key != "securityContext"}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": loose})
