"""What breaks for everybody: the operator, Prometheus, the gateway, the API server. One test at a time."""

from __future__ import annotations

from tests.scenes import playground, scene

__all__ = ["playground", "scene"]
