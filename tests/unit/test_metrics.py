"""The operator's own metrics, as a process that has just started serves them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from modelrollout.core.analysis import Verdict
from modelrollout.metrics import REGISTRY, Page, VerdictCounts, count_request, exposition
from modelrollout.statuses import Statuses
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

_PROGRAM = """
from modelrollout import metrics
status = {
    "phase": "Progressing", "stable": {"version": 101}, "canary": {"version": 102},
    "conditions": [{"type": "Ready", "status": "False"}],
    "rollout": {"weightSet": 25, "weightLive": 5, "step": 2, "stepStarted": "2026-01-01T00:00:10Z"},
    "analysis": [{"name": "errors", "verdict": "Pass"}],
}
objects = [{"metadata": {"namespace": "shop", "name": "recsys"}, "status": status}]
labels = {"modelrollout.io/rollout": "recsys", "modelrollout.io/track": "canary"}
container = {"resources": {"limits": {"cpu": "1", "nvidia.com/mig-1g.10gb": "2"}}}
deployments = [{
    "metadata": {"namespace": "shop", "name": "recsys-canary", "labels": labels},
    "spec": {"template": {"spec": {"containers": [container]}}},
    "status": {"replicas": 3},
}]
metrics.initialise(lambda: objects, lambda: deployments)
print(metrics.exposition("", metrics.collected())[0].decode(), end="@@@")
objects.clear()
deployments.clear()
print(metrics.exposition("", metrics.collected())[0].decode(), end="")
"""
_OF_AN_OBJECT = {"namespace", "name"}
_BOUNDED = {
    "code", "kind", "le", "metric", "outcome", "phase", "resource", "result", "track", "type", "verb", "verdict",
    "version",
}  # fmt: skip
_NOT_OURS = ("process_", "python_")


@dataclass(frozen=True)
class Pages:
    """`/metrics` with one rollout, and after it is gone."""

    full: dict[str, Metric]
    empty: dict[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """One sample of the full page."""
        samples = [sample for family in self.full.values() for sample in family.samples]
        (found,) = [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]
        return float(found)


@pytest.fixture(scope="module")
def pages() -> Pages:
    """From a process of their own: in this one other tests have counted."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    full, empty = done.stdout.split("@@@")
    return Pages(_ours(full), _ours(empty))


def _ours(text: str) -> dict[str, Metric]:
    families = text_string_to_metric_families(text)
    return {family.name: family for family in families if not family.name.startswith(_NOT_OURS)}


def test_every_counter_starts_at_0(pages: Pages) -> None:
    """A rate over the first error is one: each series is there before anything happened, but for those of objects."""
    counting = {name: family for name, family in pages.empty.items() if family.type in {"counter", "histogram"}}
    values = {name: {sample.value for sample in family.samples} for name, family in counting.items()}
    assert values.pop("modelrollout_verdicts") == set()
    assert values
    assert all(found == {0.0} for found in values.values()), values


def _labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


def test_what_operators_are_watched_by(pages: Pages) -> None:
    """Passes and status writes with their errors, the answers of all neighbours, who leads, and whether it is ready."""
    counters = {family.name for family in pages.empty.values() if family.type == "counter"}
    assert counters >= {
        f"modelrollout_{name}"
        for name in (
            "passes", "status_writes", "api_requests", "metric_queries", "reload_calls", "notifications", "repairs",
            "rollouts_ended", "verdicts", "watch_restarts",
        )
    }  # fmt: skip
    assert {"modelrollout_leader", "modelrollout_ready", "modelrollout_queue_depth"} <= pages.empty.keys()


def test_a_rollout_is_shown(pages: Pages) -> None:
    """Phase, weights as ratios, step with its start as a timestamp, versions and verdicts."""
    assert pages.value("modelrollout_phase", phase="Progressing", namespace="shop") == 1
    assert pages.value("modelrollout_phase", phase="Paused") == 0
    assert pages.value("modelrollout_condition", type="Ready") == 0
    assert pages.value("modelrollout_weight_set_ratio") == 0.25
    assert pages.value("modelrollout_weight_live_ratio") == 0.05
    assert pages.value("modelrollout_step") == 2
    assert pages.value("modelrollout_step_started_timestamp_seconds") == 1767225610
    assert pages.value("modelrollout_version", track="canary") == 102
    assert pages.value("modelrollout_verdict", metric="errors", verdict="Pass") == 1


def test_both_formats_say_the_same_of_objects() -> None:
    """What is written once per change of an object is no other text in OpenMetrics; names that need it are escaped."""
    judged = {"name": 'say "hi"', "verdict": "Pass"}
    rollouts = tuple(
        {"metadata": {"namespace": "shop", "name": name}, "status": {"phase": "Healthy", "analysis": [judged]}}
        for name in ("a", "b")
    )
    page = Page((), rollouts)
    plain, _ = exposition("text/plain", page)
    modern, kind = exposition("application/openmetrics-text; version=1.0.0", page)
    assert kind.startswith("application/openmetrics-text")
    families: tuple[Iterable[Metric], ...] = (
        text_string_to_metric_families(plain.decode()),
        openmetrics(modern.decode()),  # type: ignore[no-untyped-call]  # the library's own
    )
    read = [{family.name: family.samples for family in every} for every in families]
    assert read[0] == read[1]
    assert [sample.labels["metric"] for sample in read[0]["modelrollout_verdict"]] == ['say "hi"'] * 2


def test_an_object_that_changed_is_written_anew() -> None:
    """And others are as they were."""
    first, other = ({"metadata": {"name": name}, "status": {"phase": "Healthy"}} for name in ("a", "b"))
    statuses = Statuses()
    before = statuses.text([first, other])
    assert statuses.text([first, other]) == before
    after = statuses.text([{**first, "status": {"phase": "Preparing"}}, other]).decode()
    assert 'modelrollout_phase{name="a",namespace="",phase="Preparing"} 1.0' in after
    assert 'modelrollout_phase{name="b",namespace="",phase="Healthy"} 1.0' in after


def test_gpus_are_those_of_all_pods(pages: Pages) -> None:
    """A side holds what its Deployment's pods are limited to, by resource; processors are no GPUs."""
    assert pages.value("modelrollout_gpus", namespace="shop", track="canary", resource="nvidia.com/mig-1g.10gb") == 6
    assert len(pages.full["modelrollout_gpus"].samples) == 1


def test_an_object_that_is_gone_leaves_nothing(pages: Pages) -> None:
    """The families stay, without a sample."""
    assert pages.full.keys() == pages.empty.keys()
    assert not [name for name, family in pages.empty.items() if _labels(family) >= _OF_AN_OBJECT]


def test_labels_are_few_and_units_are_base_units(pages: Pages) -> None:
    """No revision, message or pod is a label; seconds and ratios, never milliseconds or percent."""
    for name, family in pages.full.items():
        assert _labels(family) <= _BOUNDED | _OF_AN_OBJECT, name
        assert not re.search(r"_(ms|milliseconds|minutes|percent|mb|kb)\b", name), name
        assert family.documentation


def test_install_page_lists_every_series(pages: Pages) -> None:
    """Whoever writes a dashboard finds all of them in docs/install.md, and no others."""
    page = (REPOSITORY / "docs" / "install.md").read_text()
    listed = set(re.findall(r"`(modelrollout_[a-z_]+)", page))
    served = {f"{name}_total" if family.type == "counter" else name for name, family in pages.full.items()}
    assert listed == served


def test_requests_are_counted_by_what_they_are_about() -> None:
    """Objects and namespaces may have any name, even that of a resource."""

    def counted(**labels: str) -> float:
        return REGISTRY.get_sample_value("modelrollout_api_requests_total", labels) or 0.0

    cases = [
        ("/apis/modelrollout.io/v1alpha1/namespaces/pods/modelrollouts/pods/status", 200, "modelrollouts", "2xx"),
        ("/api/v1/namespaces/shop/configmaps/events", 404, "configmaps", "4xx"),
        ("/api/v1/nodes", None, "nodes", "none"),
        ("/version", 503, "none", "5xx"),
    ]
    for path, status, resource, code in cases:
        before = counted(verb="PATCH", resource=resource, code=code)
        count_request("PATCH", path, status)
        assert counted(verb="PATCH", resource=resource, code=code) == before + 1


def test_verdicts_leave_with_the_rollout() -> None:
    """All verdicts of a metric are there from its first measurement on, and none once nothing is measured any more."""

    def counts() -> dict[str, float | None]:
        labels = {"namespace": "shop", "name": "gone", "metric": "errors"}
        return {
            verdict: REGISTRY.get_sample_value("modelrollout_verdicts_total", {**labels, "verdict": verdict})
            for verdict in Verdict
        }

    subject = VerdictCounts("shop", "gone")
    subject.count({"errors": Verdict.PASS})
    subject.count({"errors": Verdict.FAIL})
    assert counts() == {**dict.fromkeys(Verdict, 0.0), Verdict.PASS: 1.0, Verdict.FAIL: 1.0}
    subject.forget()
    assert set(counts().values()) == {None}
