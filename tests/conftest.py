"""What holds for all tests."""

from __future__ import annotations

import pytest

_LONG_LIMIT = 1800.0
"""Seconds after which a long test is taken for one that hangs; the others have the limit in pyproject.toml."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests get time."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_LONG_LIMIT))
