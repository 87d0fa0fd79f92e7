"""Settings of the unit tests, and what several of them need."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings
from structlog._config import BoundLoggerLazyProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

# No example may fail for being slow: how long it takes is the machine's affair.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Logging as it was before, for the tests that follow one that configures it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    # Loggers that were used meanwhile keep what they were made with.
    modules = [module for name, module in sys.modules.items() if name.startswith("modelrollout.")]
    for proxy in (value for module in modules for value in vars(module).values()):
        if isinstance(proxy, BoundLoggerLazyProxy):
            vars(proxy).pop("bind", None)
