"""Settings from flags and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelrollout.access import ModelServerAccess, PrometheusAccess, SecretFile, Tls
from modelrollout.core.topics import Topic
from modelrollout.election import Terms
from modelrollout.settings import Election, OperatorSettings, load_settings


def test_everything_has_a_default() -> None:
    """Started with nothing, the operator looks after all namespaces and serves no health."""
    assert load_settings([], {}) == OperatorSettings()


def test_variables_are_read() -> None:
    """A manifest can set everything through the environment."""
    environment = {
        "KUBECONFIG": "/k",
        "MODELROLLOUT_NAMESPACES": "b, a",
        "MODELROLLOUT_LOG_FORMAT": "console",
        "MODELROLLOUT_LOG_LEVEL": "DEBUG",
        "MODELROLLOUT_HEALTH_ADDRESS": "0.0.0.0:8080",
    }
    assert load_settings([], environment) == OperatorSettings("/k", ("a", "b"), "console", "DEBUG", ("0.0.0.0", 8080))  # noqa: S104 - as a manifest has it


def test_a_flag_wins_over_its_variable() -> None:
    """What is typed stands."""
    environment = {"KUBECONFIG": "/k", "MODELROLLOUT_LOG_LEVEL": "DEBUG"}
    read = load_settings(["--kubeconfig", "/other", "--log-level", "ERROR", "--health-address", "[::1]:9"], environment)
    assert (read.kubeconfig, read.log_level, read.health) == ("/other", "ERROR", ("::1", 9))


def test_namespaces_may_be_repeated() -> None:
    """Both ways to name several namespaces work together."""
    assert load_settings(["--namespace", "a", "--namespace", "c,b"], {}).namespaces == ("a", "b", "c")


def test_the_election_is_set_by_flags_and_variables() -> None:
    """A manifest names the lease and who runs for it; a process at a desk runs for none."""
    environment = {"MODELROLLOUT_LEASE_NAMESPACE": "ops", "MODELROLLOUT_IDENTITY": "pod-1"}
    times = ["--lease-duration", "6", "--lease-renew-deadline", "4", "--lease-retry-period", "1"]
    read = load_settings(["--lease-name", "blue", *times], environment)
    assert read.election == Election("ops", "blue", "pod-1", Terms(6, 4, 1))
    assert load_settings(["--leader-election=false"], environment).election is None


def test_alerts_and_notifications_are_read() -> None:
    """Both are off unless they are asked for; of notifications one may choose."""
    arguments = ["--alerts-address", "[::1]:9", "--alerts-token-file", "/t", "--notify-urls-file", "/u"]
    read = load_settings(arguments, {"MODELROLLOUT_NOTIFY_ON": "aborted, stalled"})
    assert (read.alerts, read.alerts_token, read.notify_urls) == (("::1", 9), Path("/t"), Path("/u"))
    assert read.notify == {Topic.ABORTED, Topic.STALLED}


def test_access_to_neighbours_is_read() -> None:
    """Each file keeps the flag that names it, for errors; addresses are compared by scheme, host and port."""

    def file(name: str, path: str) -> SecretFile:
        return SecretFile(f"--{name}-file", Path(path))

    environment = {
        "MODELROLLOUT_MODEL_SERVER_CA_FILE": "/m/ca",
        "MODELROLLOUT_PROMETHEUS_ADDRESSES": "https://Thanos.ops/x, http://p:9090",
        "MODELROLLOUT_PROMETHEUS_TOKEN_FILE": "/p/token",
    }
    files = ["--prometheus-cert-file", "/p/crt", "--prometheus-key-file", "/p/key"]
    read = load_settings(["--model-server-name", "models", *files], environment)
    assert read.model_servers == ModelServerAccess(Tls(file("model-server-ca", "/m/ca")), "models")
    tls = Tls(None, file("prometheus-cert", "/p/crt"), file("prometheus-key", "/p/key"))
    origins = frozenset({"https://thanos.ops:443", "http://p:9090"})
    assert read.prometheus == PrometheusAccess(origins, tls, file("prometheus-token", "/p/token"))


def test_traces_go_where_the_standard_variable_says() -> None:
    """Unless the operator is told otherwise; empty is nowhere."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert load_settings([], environment).otlp == "http://collector:4318"
    assert load_settings(["--otlp-endpoint", "https://other"], environment).otlp == "https://other"
    assert load_settings([], {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}).otlp is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--notify-on", "everything"],
        ["--alerts-address", "h:9"],
        ["--health-address", "8080"],
        ["--log-level", "LOUD"],
        ["--health-address", "h:99999"],
        ["--leader-election", "maybe"],
        ["--lease-duration", "5"],
        ["--lease-retry-period", "10"],
        ["--model-server-cert-file", "/c"],
        ["--model-server-name", "models"],
        ["--otlp-endpoint", "collector:4317"],
        ["--prometheus-token-file", "/t"],
        ["--prometheus-addresses", "prometheus:9090"],
        ["--prometheus-key-file", "/k", "--prometheus-addresses", "http://p"],
        ["--prometheus-password-file", "/w", "--prometheus-addresses", "http://p"],
    ],
)
def test_a_wrong_setting_ends_the_start_with_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error is told, not ignored."""
    with pytest.raises(SystemExit):
        load_settings(arguments, {})
    assert arguments[0] in capsys.readouterr().err


def test_a_shard_is_a_selector_and_a_lease() -> None:
    """Each shard elects its leader by a Lease of its own, called as the shard is."""
    read = load_settings(["--namespace-selector", "tier=gold, team in (b,a)"], {"MODELROLLOUT_SHARD": "blue"})
    assert read.namespace_selector == "team in (b,a),tier=gold"
    assert read.election == Election(name="modelrollout-blue")
    by_hash = load_settings([], {"MODELROLLOUT_NAMESPACE_SELECTOR": "tier=gold"}).election
    assert by_hash is not None
    assert by_hash.name.startswith("modelrollout-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--namespace-selector", "team in a"], "is no requirement"),
        (["--shard", "Blue"], "is no name"),
        (["--namespace", "a", "--namespace-selector", "team=a"], "two ways"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At the start, in words."""
    with pytest.raises(SystemExit):
        load_settings(arguments, {})
    assert said in capsys.readouterr().err
