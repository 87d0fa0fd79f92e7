"""A release that has a share of the cluster: its namespaces, its Lease, and the right to see which they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.helm import of_kind

if TYPE_CHECKING:
    from tests.chart.helm import Helm

pytestmark = pytest.mark.timeout(1800)

SHARE = ("shard.name=gold", "shard.namespaceSelector=tier=gold")


def test_a_share_has_a_lease_of_its_own_and_may_read_namespaces(helm: Helm) -> None:
    """The operator is told which labels are its own, and may write no other share's Lease."""
    objects = helm.template(*SHARE, "rbac.aggregate=false")
    (deployment,) = of_kind(objects, "Deployment")
    variables = {
        each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert variables["MODELROLLOUT_NAMESPACE_SELECTOR"] == "tier=gold"
    assert f"{variables['MODELROLLOUT_LEASE_NAME']}-{variables['MODELROLLOUT_SHARD']}" == "modelrollout-gold"
    (election,) = of_kind(objects, "Role")
    assert election["rules"][0]["resourceNames"] == ["modelrollout-gold"]
    (shard,) = [role for role in of_kind(objects, "ClusterRole") if role["metadata"]["name"] == "modelrollout-shard"]
    assert shard["rules"] == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}]


def test_without_shares_nobody_reads_namespaces(helm: Helm) -> None:
    """The right is there only for those who need it."""
    objects = helm.template("rbac.aggregate=false")
    rules = [rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]]
    assert not [rule for rule in rules if "namespaces" in rule["resources"]]
    (election,) = of_kind(objects, "Role")
    assert election["rules"][0]["resourceNames"] == ["modelrollout"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("shard.namespaceSelector=tier=gold",), "shard.name is needed"),
        ((*SHARE, "watchNamespaces={a}"), "two ways to say the same"),
        (("shard.name=Gold",), "shard"),
    ],
)
def test_a_share_that_cannot_be_is_refused(helm: Helm, values: tuple[str, ...], said: str) -> None:
    """With what is missing."""
    assert said in helm.refusal(*values)
