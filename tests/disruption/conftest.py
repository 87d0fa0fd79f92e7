"""What breaks for everybody: Prometheus, the gateway, the API server, nodes. One test at a time."""

from __future__ import annotations

import pytest

from tests.scenes import interference, playground, scene

pytest.register_assert_rewrite("tests.witness")

__all__ = ["interference", "playground", "scene"]
