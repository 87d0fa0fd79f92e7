"""`python -m benchmarks`: all benchmarks, one after the other. `make bench` calls it."""

from __future__ import annotations

import sys

from benchmarks import abort, footprint, promote, scale, undo


def main(arguments: list[str]) -> int:
    """The options are those that all have; 1 when a run did not show what it is about."""
    everything = (abort.BENCHMARK, promote.BENCHMARK, undo.BENCHMARK, footprint.BENCHMARK, scale.BENCHMARK)
    return max(benchmark.main(arguments) for benchmark in everything)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
