"""Prometheus: scrapes every model server pod once a second, ready or not, and the operator every five seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playground import operator_pod
from playground.box import API_ADDRESS
from playground.component import Component, Surroundings, answers

if TYPE_CHECKING:
    from playground.component import Binaries
    from playground.state import State

NAME = "prometheus"
PORT = 9090
_BAD_ANSWERS = 'rate(:tensorflow:serving:request_count{status!="OK"}[5s])'
_METRICS_PATH = "/monitoring/prometheus/metrics"


def component(state: State, binaries: Binaries) -> Component:
    """Prometheus, with the API and without the web pages."""
    return Component(
        NAME,
        (
            str(binaries.prometheus / "prometheus"),
            f"--config.file={state.data / 'prometheus.yml'}",
            f"--storage.tsdb.path={state.data / 'prometheus'}",
            "--storage.tsdb.retention.time=1d",
            f"--web.listen-address={API_ADDRESS}:{PORT}",
            "--log.level=warn",
        ),
        needs=("kube-apiserver",),
        prepare=_write_configuration,
        ready=answers(f"http://{API_ADDRESS}:{PORT}/-/ready"),
    )


async def _write_configuration(around: Surroundings) -> None:
    rules = around.state.data / "rules.yml"
    rules.write_text(json.dumps(RULES, indent=2) + "\n")
    content = configuration(str(around.state.kubeconfig(NAME))) | {"rule_files": [str(rules)]}
    (around.state.data / "prometheus.yml").write_text(json.dumps(content, indent=2) + "\n")


RULES = {
    "groups": [
        {
            "name": "models",
            "interval": "1s",
            "rules": [
                {
                    "alert": "ModelErrors",
                    "expr": f"sum by (namespace, rollout) ({_BAD_ANSWERS}) > 1",
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "Model servers answer with errors."},
                }
            ],
        }
    ]
}
"""One alert as a team would have it: labelled with the namespace and the rollout that it concerns."""


def configuration(kubeconfig: str) -> dict[str, Any]:
    """Prometheus' configuration; JSON is YAML.

    Targets carry `namespace`, `pod`, `node`, `instance` and the pod's labels `modelrollout.io/*` by their last part.
    """
    pod = "__meta_kubernetes_pod_"
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
        "scrape_configs": [
            {
                "job_name": "model-servers",
                "metrics_path": _METRICS_PATH,
                "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": kubeconfig}],
                "relabel_configs": [
                    _only(f"{pod}label_app_kubernetes_io_managed_by", "modelrollout"),
                    _only(f"{pod}phase", "Pending|Running"),
                    _only(f"{pod}ip", ".+"),
                    # One target per pod, whatever ports it declares: equal targets become one.
                    {"source_labels": [f"{pod}ip"], "replacement": "$1:8501", "target_label": "__address__"},
                    {"action": "labelmap", "regex": f"{pod}label_modelrollout_io_(.+)"},
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                    {"source_labels": [f"{pod}name"], "target_label": "pod"},
                    {"source_labels": [f"{pod}node_name"], "target_label": "node"},
                ],
            },
            _operator(),
        ],
    }


def _operator() -> dict[str, Any]:
    """As the chart's PodMonitor has it: what the operator says of a rollout keeps the rollout's own namespace."""
    metadata = operator_pod.pod()["metadata"]
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"]}
    return {
        "job_name": "operator",
        "scrape_interval": "5s",
        "honor_labels": True,
        "static_configs": [{"targets": [operator_pod.address()], "labels": labels}],
    }


def _only(label: str, pattern: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [label], "regex": pattern}
