"""Writes the test files beside Argo CD's scripts anew, in the form of Argo CD's own tests. `export` calls it.

    python -m playground.toolchain python -m tests.gitops.record

What is right is said in tests/gitops/test_argo_*.py; these files say the same case by case, for Argo CD's harness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tests.gitops import argo

if TYPE_CHECKING:
    from pathlib import Path

ACTED_ON = {
    "abort": "good-progressing-step-1-live",
    "pause": "good-progressing-step-1-live",
    "promote": "good-progressing-step-1-live",
    "promote-full": "good-progressing-step-2-live",
    "resume": "good-progressing-step-2-set",
    "retry": "bad-rolledback",
    "skip": "good-progressing-step-1-live",
    "undo": "good-healthy",
}
"""Which phase each action is shown on."""
REFUSED_ON = {
    "abort": "good-healthy",
    "pause": "good-healthy",
    "promote": "good-healthy",
    "promote-full": "good-healthy",
    "resume": "good-healthy",
    "retry": "good-healthy",
    "skip": "good-healthy",
    "undo": "good-initializing",
}


def health_tests() -> dict[str, Any]:
    """One test per phase."""
    return {
        "tests": [
            {"healthStatus": argo.health(argo.phase(p)), "inputPath": f"testdata/{p}.yaml"} for p in argo.phases()
        ]
    }


def action_tests() -> dict[str, Any]:
    """Discovery in every phase, each action where it does something and where it refuses."""
    tests: list[dict[str, Any]] = []
    for action, shown_on in ACTED_ON.items():
        tests.append(
            {
                "action": action,
                "inputPath": f"../testdata/{shown_on}.yaml",
                "expectedOutputPath": f"testdata/{action}.yaml",
            }
        )
        tests.append(
            {
                "action": action,
                "inputPath": f"../testdata/{REFUSED_ON[action]}.yaml",
                "expectedErrorMessage": _refusal(action, REFUSED_ON[action]),
            }
        )
    return {"discoveryTests": [_discovery(name) for name in argo.phases()], "actionTests": tests}


def main() -> None:
    """Write all of them."""
    _write(argo.CUSTOMIZATION / "health_test.yaml", health_tests())
    _write(argo.ACTIONS / "action_test.yaml", action_tests())
    for action, shown_on in ACTED_ON.items():
        _write(argo.ACTIONS / "testdata" / f"{action}.yaml", argo.act(action, argo.phase(shown_on)))


def _discovery(name: str) -> dict[str, Any]:
    found = argo.discover(argo.phase(name))
    result = [{"name": action, **{k: v for k, v in found[action].items() if v}} for action in sorted(found)]
    return {"inputPath": f"../testdata/{name}.yaml", "result": result}


def _refusal(action: str, name: str) -> str:
    try:
        argo.act(action, argo.phase(name))
    except argo.ScriptError as error:
        return str(error)
    raise AssertionError(f"{action} does something on {name}")


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content, width=120, sort_keys=False))


if __name__ == "__main__":
    main()
