"""`python -m playground.load`: load from the command line, a JSON report at the end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from playground.load.generator import Generator, Target
from playground.load.records import Recorder, report


def main() -> None:
    """Send load for a while, or until SIGINT or SIGTERM; print the report, or write it to a file."""
    options = _parser().parse_args()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(options.records.open("w", buffering=1)) if options.records else None
        recorder = Recorder(file)
        asyncio.run(_send(options, recorder))
    text = json.dumps(report(recorder.answers), indent=2)
    if options.report:
        options.report.write_text(text + "\n")
    else:
        print(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground.load", description="Requests at a set rate.")
    parser.add_argument("--rest", help="base URL for REST, such as http://127.0.0.1:8888")
    parser.add_argument("--grpc", help="host:port for gRPC")
    parser.add_argument("--model", required=True, help="model name")
    parser.add_argument("--host", help="host name to send, where several routes share a listener")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second in all (default: 100)")
    parser.add_argument("--duration", type=float, default=3600.0, help="seconds (default: until interrupted)")
    parser.add_argument("--attached", action="store_true", help="also stop when standard input closes")
    parser.add_argument("--users", type=int, default=1000, help="distinct x-user-id values (default: 1000)")
    parser.add_argument("--report", type=Path, help="write the report here instead of printing it")
    parser.add_argument("--records", type=Path, help="write every answer here, a line of JSON each")
    return parser


async def _send(options: argparse.Namespace, recorder: Recorder) -> None:
    generator = Generator(
        Target(options.model, options.rest, options.grpc, options.host), options.rate, recorder, options.users
    )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if options.attached:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, stopped)
    await generator.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), options.duration)
    await generator.stop()


def _read_stdin(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stopped.set()


if __name__ == "__main__":
    main()
