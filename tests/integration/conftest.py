"""Many rollouts side by side on one playground; each test has a rollout, models and a host name of its own."""

from __future__ import annotations

from tests.scenes import playground, scene

__all__ = ["playground", "scene"]
