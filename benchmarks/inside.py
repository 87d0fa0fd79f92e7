"""`python -m benchmarks.inside COMMAND`: small acts on the box's processes, done in there. Called by benchmarks/lab.py.

signal POD NUMBER    send a signal to a pod's model server
usage                print what the operator's process uses, as JSON
metrics              print what the operator counted of itself, as JSON
scrape FILE PATTERN  have Prometheus scrape the pods of rollouts of this name alone; FILE is its configuration
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from playground import operator_pod

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVER = "playground.model_server"
_OPERATOR = "modelrollout"
_SAMPLE = re.compile(r"^modelrollout_(passes|api_requests)_total\{(.*)\} (\S+)$", re.MULTILINE)
_READS = re.compile(r'verb="(get|list|watch)"', re.IGNORECASE)


def main(arguments: list[str]) -> int:
    """Obey; 1 when no such process runs."""
    match arguments:
        case ["signal", pod, number]:
            found = [pid for pid in _running(_SERVER) if _environment(pid).get("HOSTNAME") == pod]
            for pid in found:
                os.kill(pid, int(number))
            return int(not found)
        case ["usage"]:
            usage = [_usage(pid) for pid in _running(_OPERATOR)]
            print(json.dumps(usage[0] if usage else None))
            return int(not usage)
        case ["metrics"]:
            print(json.dumps(_counted()))
            return 0
        case ["scrape", file, pattern]:
            _scrape(Path(file), pattern)
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


def _running(module: str) -> Iterator[int]:
    """Processes of `python -m MODULE`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue  # it has just ended
        if words[1:3] == ["-m", module]:
            yield int(folder.name)


def _environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _usage(pid: int) -> dict[str, float]:
    """When it started (seconds since the epoch), resident memory now and at its highest, seconds of CPU since then."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    ticks = [int(word) for word in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1:]]
    second = os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks[18] / second
    return {
        "started": time.time() - age,
        "residentMB": int(sizes["VmRSS"][0]) * 1024 / 1e6,
        "highestMB": int(sizes["VmHWM"][0]) * 1024 / 1e6,
        "cpuSeconds": (ticks[10] + ticks[11]) / second,
    }


def _counted() -> dict[str, float]:
    """Sums of counters on the operator's page, and how many seconds the page took."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    begin = time.perf_counter()
    with direct.open(f"http://{operator_pod.address()}/metrics", timeout=60) as response:
        page = response.read().decode()
    sums = {"reads": 0.0, "writes": 0.0, "passes": 0.0, "seconds": time.perf_counter() - begin}
    for name, labels, value in _SAMPLE.findall(page):
        if name == "passes":
            sums["passes"] += float(value)
        elif 'resource="leases"' not in labels:
            sums["reads" if _READS.search(labels) else "writes"] += float(value)
    return sums


def _scrape(file: Path, pattern: str) -> None:
    """Narrow the configuration, and have it read anew."""
    content = json.loads(file.read_text())
    keep = {"action": "keep", "source_labels": ["__meta_kubernetes_pod_label_modelrollout_io_rollout"]}
    content["scrape_configs"][0]["relabel_configs"].append({**keep, "regex": pattern})
    file.write_text(json.dumps(content))
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_text().split("\0")[0].endswith("/prometheus"):
                os.kill(int(folder.name), signal.SIGHUP)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
