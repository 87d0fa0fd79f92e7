"""The chart's values for TLS and credentials, up to what the operator makes of them."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.settings import OperatorSettings, load_settings
from tests.chart.helm import of_kind

if TYPE_CHECKING:
    from tests.chart.helm import Helm

pytestmark = pytest.mark.timeout(1800)

MUTUAL = (
    "modelServers.tls.secretName=models",
    "modelServers.tls.clientCertificate=true",
    "modelServers.tls.serverName=models.internal",
    "prometheus.addresses={https://prometheus:9090,https://thanos.ops}",
    "prometheus.tls.secretName=prometheus",
    "prometheus.tls.clientCertificate=true",
    "prometheus.auth.secretName=token",
)


def started_with(container: dict[str, Any]) -> OperatorSettings:
    """What the operator reads from its variables."""
    plain = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    return load_settings([], plain)


def test_nothing_secret_is_mounted_by_default(helm: Helm) -> None:
    """Without values the operator needs no Secret."""
    (deployment,) = of_kind(helm.template(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert not [volume for volume in pod["volumes"] if "secret" in volume]
    assert started_with(pod["containers"][0]).prometheus.files == ()


def test_every_file_that_is_named_is_mounted(helm: Helm) -> None:
    """The operator looks for each where a Secret is mounted, read-only, under the key that such Secrets have."""
    (deployment,) = of_kind(helm.template(*MUTUAL), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"] if each.get("readOnly")}
    settings = started_with(container)
    files = [*settings.model_servers.tls.files, *settings.prometheus.files]
    found = {(mounts[str(PurePath(file.path).parent)], file.path.name) for file in files}
    assert found == {
        ("models", "ca.crt"),
        ("models", "tls.crt"),
        ("models", "tls.key"),
        ("prometheus", "ca.crt"),
        ("prometheus", "tls.crt"),
        ("prometheus", "tls.key"),
        ("token", "token"),
    }
    assert settings.model_servers.name == "models.internal"
    assert settings.prometheus.origins == {"https://prometheus:9090", "https://thanos.ops:443"}


def test_a_name_and_password_take_the_place_of_a_token(helm: Helm) -> None:
    """A Secret of type kubernetes.io/basic-auth fits as it is."""
    values = ("prometheus.addresses={https://p}", "prometheus.auth.secretName=s", "prometheus.auth.kind=basic")
    (deployment,) = of_kind(helm.template(*values), "Deployment")
    access = started_with(deployment["spec"]["template"]["spec"]["containers"][0]).prometheus
    assert [file.path.name for file in access.files] == ["username", "password"]


def test_credentials_without_addresses_are_refused(helm: Helm) -> None:
    """Whom they are for is said, or they would be for whomever a ModelRollout names."""
    assert "prometheus.addresses" in helm.refusal("prometheus.auth.secretName=token")
