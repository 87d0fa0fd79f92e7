"""What the operator is started with: flags, else environment variables, as one frozen value. Called by `process`."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelrollout.access import ModelServerAccess, PrometheusAccess, SecretFile, Tls, origin
from modelrollout.core.topics import Topic
from modelrollout.election import Terms
from modelrollout.shard import lease_name, parse_selector

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_FORMATS = ("json", "console")
_LEASE_NAMESPACE, _LEASE_NAME = "default", "modelrollout"


@dataclass(frozen=True, slots=True)
class Election:
    """The Lease by which several processes agree on the one that acts.

    `identity` is who this process is in it, "" for the host's name and some chance. One that is started again under its
    name has its lease back at once; two that run at a time must never share one.
    """

    namespace: str = _LEASE_NAMESPACE
    name: str = _LEASE_NAME
    identity: str = ""
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """All of it.

    `kubeconfig` None means the pod's service account, or `~/.kube/config` outside a cluster. No `namespaces` and no
    `namespace_selector` means all of them. `health` is the address of `/livez`, `/readyz` and `/metrics`, None for
    none; `alerts` that of Alertmanager's webhook, whose callers bear the token in file `alerts_token`. `notify_urls` is
    a file of URLs for apprise, None to tell nobody, and `notify` what to tell. `prometheus` and `model_servers` say how
    these are spoken to, `otlp` is where traces go, None for nowhere. `election` is None for a process that is alone.
    """

    kubeconfig: str | None = None
    namespaces: tuple[str, ...] = ()
    log_format: str = "json"
    log_level: str = "INFO"
    health: tuple[str, int] | None = None
    alerts: tuple[str, int] | None = None
    alerts_token: Path | None = None
    notify_urls: Path | None = None
    notify: frozenset[Topic] = frozenset(Topic)
    prometheus: PrometheusAccess = field(default_factory=PrometheusAccess)
    model_servers: ModelServerAccess = field(default_factory=ModelServerAccess)
    otlp: str | None = None
    election: Election | None = field(default_factory=Election)
    namespace_selector: str = ""


def load_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> OperatorSettings:
    """Read the settings; a flag wins over its variable. Ends the process with a usage message when one is wrong."""
    parser = _parser(environment)
    parsed = parser.parse_args(arguments)
    if (parsed.alerts_address is None) != (parsed.alerts_token_file is None):
        parser.error("--alerts-address and --alerts-token-file go together: no call is taken from just anybody")
    terms = Terms(parsed.lease_duration, parsed.lease_renew_deadline, parsed.lease_retry_period)
    if not terms.duration > terms.renew > terms.retry > 0:
        parser.error("--lease-duration must be longer than --lease-renew-deadline, and that than --lease-retry-period")
    if parsed.namespace and parsed.namespace_selector:
        parser.error("--namespace and --namespace-selector are two ways to say the same")
    lease = lease_name(parsed.lease_name, parsed.shard, parsed.namespace_selector)
    election = Election(parsed.lease_namespace, lease, parsed.identity, terms)
    return OperatorSettings(
        kubeconfig=parsed.kubeconfig or None,
        namespaces=tuple(sorted(set(parsed.namespace))),
        namespace_selector=parsed.namespace_selector,
        log_format=parsed.log_format,
        log_level=parsed.log_level,
        health=parsed.health_address,
        alerts=parsed.alerts_address,
        alerts_token=parsed.alerts_token_file,
        notify_urls=parsed.notify_urls_file,
        notify=parsed.notify_on,
        prometheus=_prometheus(parser, parsed),
        model_servers=_model_servers(parser, parsed),
        otlp=parsed.otlp_endpoint,
        election=election if parsed.leader_election else None,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modelrollout run", description="Roll out TensorFlow Serving models in steps: the operator."
    )
    parser.add_argument(
        "--kubeconfig",
        default=environment.get("KUBECONFIG"),
        help="default: $KUBECONFIG, else the pod's service account",
    )
    parser.add_argument(
        "--namespace",
        action="extend",
        type=_names,
        default=_names(environment.get("MODELROLLOUT_NAMESPACES", "")),
        help="look after these alone (comma-separated, may be repeated; $MODELROLLOUT_NAMESPACES); default: all",
    )
    parser.add_argument("--log-format", choices=_FORMATS, default=environment.get("MODELROLLOUT_LOG_FORMAT", "json"))
    parser.add_argument("--log-level", choices=_LEVELS, default=environment.get("MODELROLLOUT_LOG_LEVEL", "INFO"))
    _add_shard(parser, environment)
    _add_files_and_addresses(parser, environment)
    _add_access(parser, environment)
    _add_election(parser, environment)
    return parser


def _flags(add: Callable[..., object], environment: Mapping[str, str]) -> Callable[..., None]:
    """What adds a flag that a variable of the same name may stand for. `said` is the default in words."""

    def flag(name: str, read: Callable[[str], object], text: str, default: object, said: str, metavar: str) -> None:
        variable = "MODELROLLOUT_" + name.upper().replace("-", "_")
        text = f"{text} (${variable}); default: {said}"
        add(f"--{name}", type=read, default=environment.get(variable) or default, metavar=metavar, help=text)

    return flag


def _add_shard(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    group = parser.add_argument_group(
        "shard", "Several operators may share a cluster, each with namespaces of its own."
    )
    flag = _flags(group.add_argument, environment)
    flag("namespace-selector", _selector, "look after namespaces with such labels", "", "all of them", "SELECTOR")
    flag("shard", _shard, "what this share is called, in the name of its Lease", "", "a hash of the selector", "NAME")


def _selector(text: str) -> str:
    try:
        return parse_selector(text) if text else ""
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shard(text: str) -> str:
    if not re.fullmatch(r"([a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of up to 32 small letters, digits and dashes")
    return text


def _add_files_and_addresses(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    flag, at = _flags(parser.add_argument, environment), "HOST:PORT"
    flag("health-address", _address, "serve /livez, /readyz, /metrics here, e.g. 0.0.0.0:8080", None, "nowhere", at)
    flag("alerts-address", _address, "take calls of Alertmanager's webhook at /alertmanager here", None, "none", at)
    flag("alerts-token-file", Path, "the bearer token of those calls, a mounted Secret", None, "none", "PATH")
    flag("notify-urls-file", Path, "tell people: URLs for apprise, one a line", None, "nobody", "PATH")
    told = f"what to tell, of {','.join(Topic)}"
    flag("notify-on", _topics, told, frozenset(Topic), "all of it", "TOPICS")
    otlp = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    text = "send traces there as OTLP over HTTP, e.g. http://collector:4318"
    flag("otlp-endpoint", _web_address, text, otlp, "$OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere", "URL")


def _add_access(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    text = "TLS and credentials for neighbours, from files: mounted Secrets, read again whenever they change."
    flag = _flags(parser.add_argument_group("access", text).add_argument, environment)

    def file(name: str, text: str, said: str = "none") -> None:
        flag(name, lambda path: SecretFile(f"--{name}", Path(path)), text, None, said, "PATH")

    file("model-server-ca-file", "speak TLS to model servers, whose certificates are from these", "plain gRPC")
    file("model-server-cert-file", "our certificate for model servers")
    file("model-server-key-file", "its key")
    flag("model-server-name", str, "the name that their certificates are for", "", "the pod's IP", "NAME")
    to = "where the following is for, e.g. https://prometheus.monitoring:9090; it is sent nowhere else"
    flag("prometheus-addresses", _origins, to, frozenset(), "nowhere", "URLS")
    file("prometheus-ca-file", "its certificate is from these", "the system's")
    file("prometheus-cert-file", "our certificate for it")
    file("prometheus-key-file", "its key")
    file("prometheus-token-file", "a bearer token for it")
    file("prometheus-user-file", "a user's name for it")
    file("prometheus-password-file", "that user's password")


def _model_servers(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> ModelServerAccess:
    tls = Tls(parsed.model_server_ca_file, parsed.model_server_cert_file, parsed.model_server_key_file)
    if (tls.certificate is None) != (tls.key is None):
        parser.error("--model-server-cert-file and --model-server-key-file go together")
    if tls.ca is None and (tls.certificate is not None or parsed.model_server_name):
        parser.error("--model-server-cert-file and --model-server-name need --model-server-ca-file")
    return ModelServerAccess(tls, parsed.model_server_name)


def _prometheus(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> PrometheusAccess:
    tls = Tls(parsed.prometheus_ca_file, parsed.prometheus_cert_file, parsed.prometheus_key_file)
    token, user, password = parsed.prometheus_token_file, parsed.prometheus_user_file, parsed.prometheus_password_file
    access = PrometheusAccess(parsed.prometheus_addresses, tls, token, user, password)
    if (tls.certificate is None) != (tls.key is None):
        parser.error("--prometheus-cert-file and --prometheus-key-file go together")
    if (user is None) != (password is None):
        parser.error("--prometheus-user-file and --prometheus-password-file go together")
    if token is not None and user is not None:
        parser.error("--prometheus-token-file and --prometheus-user-file exclude each other")
    if access.files and not access.origins:
        parser.error(
            f"{access.files[0].flag} needs --prometheus-addresses: it is not for whomever a ModelRollout names"
        )
    return access


def _origins(text: str) -> frozenset[str]:
    try:
        return frozenset(origin(address) for address in _names(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _web_address(text: str) -> str:
    try:
        origin(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _topics(text: str) -> frozenset[Topic]:
    try:
        return frozenset(Topic(name) for name in _names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(Topic)}") from None


def _add_election(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    group = parser.add_argument_group("leader election", "Several operators may run; the holder of a Lease acts.")
    add = _flags(group.add_argument, environment)

    def flag(name: str, read: Callable[[str], object], default: str, text: str, metavar: str) -> None:
        add(name, read, text, default, default or "made up", metavar)

    flag("leader-election", _switch, "true", "false for a process that is surely alone", "BOOL")
    flag("lease-namespace", str, _LEASE_NAMESPACE, "where the Lease is", "NAME")
    flag("lease-name", str, _LEASE_NAME, "what it is called; one for each set of namespaces", "NAME")
    flag("identity", str, "", "who this process is; two that run at a time must differ", "NAME")
    flag("lease-duration", float, "15", "seconds without a renewal after which another takes over", "SECONDS")
    flag("lease-renew-deadline", float, "10", "seconds without a renewal after which the holder stops", "SECONDS")
    flag("lease-retry-period", float, "2", "seconds between two renewals", "SECONDS")


def _switch(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT such as 0.0.0.0:8080")
    return host.strip("[]"), int(port)
