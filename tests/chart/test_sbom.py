"""The bill of materials of the operator's image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# The program that makes it is downloaded.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

LOCKS = ("operator.lock", "tensorflow-cpu.lock")


def locked() -> dict[str, tuple[str, set[str]]]:
    """Every package of the image's locks with its version and its hashes."""
    text = "\n".join((REPOSITORY / "requirements" / name).read_text() for name in LOCKS)
    entries = re.split(r"^(?=[a-zA-Z])", text, flags=re.MULTILINE)
    found = (re.match(r"([\w.-]+)==([\w.+-]+)", entry) for entry in entries)
    hashes = (set(re.findall(r"sha256:([0-9a-f]{64})", entry)) for entry in entries)
    return {named[1]: (named[2], known) for named, known in zip(found, hashes, strict=True) if named}


def hashes_of(component: dict[str, Any]) -> set[str]:
    """Those that it may be downloaded with."""
    return {each["content"] for reference in component["externalReferences"] for each in reference["hashes"]}


def test_it_lists_what_is_locked(tmp_path: Path) -> None:
    """CycloneDX about this version of the operator; each locked package with its version and hashes, and no other."""
    target = tmp_path / "dist" / "modelrollout.cdx.json"
    subprocess.run([sys.executable, "-m", "playground.toolchain.sbom", target], cwd=REPOSITORY, check=True)
    bill = json.loads(target.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == (
        "modelrollout",
        "0.1.0",
    )
    listed = {each["name"]: (each["version"], hashes_of(each)) for each in bill["components"]}
    assert listed == locked()
    assert all(each["purl"].startswith(f"pkg:pypi/{each['name'].lower()}@") for each in bill["components"])
