"""`lint`: what the API server would say, without one. Its judges are the files that the API server was asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from modelrollout.cli.checks import problems
from modelrollout.cli.definition import load, schema
from playground.paths import REPOSITORY
from tests.cli.world import MemoryCluster, run
from tests.contract.bad import Bad, bad_manifests

if TYPE_CHECKING:
    from pathlib import Path

_CASES = REPOSITORY / "tests" / "contract" / "crd"


def _said(manifest: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in problems(manifest, schema())]


@pytest.mark.parametrize("file", sorted((_CASES / "accept").glob("*.yaml")), ids=lambda file: file.stem)
def test_what_the_api_server_accepts_passes(file: Path) -> None:
    """No false alarm."""
    for manifest in load(file.read_text()):
        assert _said(manifest) == []


@pytest.mark.parametrize("bad", [bad for bad in bad_manifests() if bad.before is None], ids=lambda bad: bad.name)
def test_what_the_api_server_refuses_is_found_with_the_same_words(bad: Bad) -> None:
    """The message is the schema's own, with the path of the field; how big an integer may be is left out."""
    words = bad.words.replace(" in body", ":").replace("int64", "integer").replace("int32", "integer")
    assert words in "\n".join(_said(bad.manifest))


def _example(**changes: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((REPOSITORY / "examples" / "smallest.yaml").read_text())
    manifest["spec"].update(changes)
    return manifest


def test_a_field_that_does_not_exist_is_found_with_the_one_that_was_meant() -> None:
    """The API server drops unknown fields without a word unless it is asked not to."""
    assert _said(_example(strategie={})) == ["spec.strategie: there is no such field; did you mean strategy?"]
    wrong = _example(analysis={"prometheus": {"adress": "http://p:9090"}})
    assert "spec.analysis.prometheus.adress: there is no such field; did you mean address?" in _said(wrong)


def test_every_problem_is_told_at_once() -> None:
    """Nobody fixes one field to learn of the next."""
    wrong = _example(strategy={"steps": [{"weight": 50, "duration": "10m"}, {"weight": 25, "duration": "soon"}]})
    wrong["spec"]["serving"]["replicas"] = 0
    said = _said(wrong)
    assert [line.split(":")[0] for line in said] == [
        "spec.serving.replicas",
        "spec.strategy.steps[1].duration",
    ]


def test_files_folders_and_standard_input(tmp_path: Path) -> None:
    """Other kinds are passed over; one line per object, exit code 1 when one is wrong."""
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\n---\n" + yaml.safe_dump(_example()))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yml").write_text(yaml.safe_dump(_example(historyLimit=-1)))
    done = run(MemoryCluster(), "lint", str(tmp_path))
    assert done.exit_code == 1
    assert done.output.splitlines()[0] == f"{tmp_path}/a.yaml: recsys: ok"
    assert done.output.splitlines()[2] == "  spec.historyLimit: should be greater than or equal to 1"
    assert run(MemoryCluster(), "lint", "-", given=yaml.safe_dump(_example())).output == "standard input: recsys: ok\n"


def test_nothing_to_check_is_no_success(tmp_path: Path) -> None:
    """A CI job that looks in the wrong folder must not be green."""
    (tmp_path / "a.yaml").write_text("kind: ConfigMap\n")
    done = run(MemoryCluster(), "lint", str(tmp_path))
    assert done.exit_code == 3
    assert "no ModelRollout in there" in done.output


def test_what_is_no_yaml_is_told(tmp_path: Path) -> None:
    """With the parser's own place."""
    (tmp_path / "a.yaml").write_text("kind: [\n")
    done = run(MemoryCluster(), "lint", str(tmp_path / "a.yaml"))
    assert (done.exit_code, "is no YAML" in done.output) == (3, True)


def test_the_api_server_is_asked_only_when_wanted(tmp_path: Path) -> None:
    """--server sends what passed here to a dry run."""
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(_example()))
    cluster = MemoryCluster()
    run(cluster, "lint", str(tmp_path))
    assert cluster.dry_runs == []
    run(cluster, "lint", str(tmp_path), "--server")
    assert [yaml.safe_load(text) for text in cluster.dry_runs] == [_example()]
