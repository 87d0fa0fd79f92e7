"""The load generator: REST and gRPC at a set rate, every answer recorded with the version that gave it.

The demo and the tests use `Generator` in their own loop; people use `python -m playground.load`.
"""

from playground.load.generator import Generator, Target
from playground.load.records import Answer, Recorder, read_records

__all__ = ["Answer", "Generator", "Recorder", "Target", "read_records"]
