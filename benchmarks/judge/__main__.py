"""Runs every part and writes docs/judge-benchmark.md: `python -m benchmarks.judge [--quick] [--runs N] [--part NAME]`.

What was tried before with as many runs is not tried again, so it can be broken off at any time; `--fresh` tries it all.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

from benchmarks.judge import page, results
from benchmarks.judge.parts import PARTS, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.judge.trial import Result

QUICK_RUNS, QUICK_CELLS = 100, 12


def main(arguments: Sequence[str]) -> int:
    """Try, keep and publish. A quick run only prints."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = _parser().parse_args(arguments)
    for name in chosen.part or PARTS:
        part = PARTS[name]
        runs = chosen.runs or (QUICK_RUNS if chosen.quick else part.runs)
        if chosen.quick:
            print("\n".join(page.section(name, _quick(part, runs, chosen.processes))))
        elif not chosen.table:
            _run(part, runs, chosen.processes, fresh=chosen.fresh)
    if not chosen.quick:
        page.publish({name: list(results.load(name).values()) for name in PARTS})
    return 0


def _quick(part: Part, runs: int, processes: int) -> list[Result]:
    """Some of the cells, spread over all."""
    count = len(part.cells())
    chosen = range(0, count, max(1, count // QUICK_CELLS))
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(attempt, [part.name] * len(chosen), chosen, [runs] * len(chosen)))


def _run(part: Part, runs: int, processes: int, *, fresh: bool) -> None:
    """Try the cells that are not there yet, and write each down as it comes."""
    began = time.monotonic()
    names = [cell.key for cell in part.cells()]
    found = {} if fresh else {name: cell for name, cell in results.load(part.name).items() if cell["asked"] == runs}
    missing = [number for number, name in enumerate(names) if name not in found]
    with ProcessPoolExecutor(processes) as pool:
        try:
            for future in as_completed([pool.submit(attempt, part.name, number, runs) for number in missing]):
                cell = future.result()
                found[cell["key"]] = cell
                results.keep(part.name, [found[name] for name in names if name in found])
        finally:
            pool.shutdown(cancel_futures=True)  # when broken off, the cells under way are the last
    print(f"{part.name}: {len(missing)} of {len(names)} cells tried in {time.monotonic() - began:.0f} s", flush=True)


def attempt(part: str, number: int, runs: int) -> Result:
    """One cell, in a process of its own."""
    cells = PARTS[part].cells()
    return {**PARTS[part].attempt(cells[number], runs), "asked": runs}


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    made.add_argument("--part", choices=PARTS, action="append", help="only this one (may be repeated)")
    made.add_argument("--runs", type=int, help="runs of each cell, in place of the part's own number")
    made.add_argument("--quick", action="store_true", help="a few cells and runs, printed, in two minutes")
    made.add_argument("--fresh", action="store_true", help="try again what was tried before")
    made.add_argument("--table", action="store_true", help="try nothing, write the page anew")
    made.add_argument("--processes", type=int, default=os.cpu_count(), help="cells at a time (default: %(default)d)")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
