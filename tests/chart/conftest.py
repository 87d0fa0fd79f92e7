"""What the chart's tests work with: Helm 4 and 3, built from their modules, and an API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from kubernetes import client

from playground.kube import Kube
from playground.toolchain.gobuild import HELM, Program
from tests.chart.cluster import Cluster
from tests.chart.helm import Helm
from tests.contract.api_server import running_api_server
from tests.contract.conftest import Rollouts
from tests.golden.kubectl import kubeconfig_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(
    scope="session", params=[pytest.param(program, id=program.module, marks=pytest.mark.long) for program in HELM]
)
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each of them in turn; built now if it is not in the cache, which takes minutes."""
    program: Program = request.param
    return Helm.built(program)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server without anything, for all tests of a file."""
    folder = tmp_path_factory.mktemp("cluster")
    with running_api_server(folder) as admin:
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(kubeconfig_of(Rollouts(client.CustomObjectsApi(admin)))))
        yield Cluster(Kube.connect(file), file)
