"""Git and the cluster on the real parts, beside the integration tests on their playground."""

from __future__ import annotations

from tests.scenes import playground, scene

__all__ = ["playground", "scene"]
