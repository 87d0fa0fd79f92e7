"""Settings of the unit tests."""

from __future__ import annotations

from hypothesis import settings

# No example may fail for being slow: how long it takes is the machine's affair.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
