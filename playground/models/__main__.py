"""`python -m playground.models make DIR --version N`: one version below DIR/NAME, whole or broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playground.models import BREAKAGES, break_version, make_version


def main(arguments: list[str]) -> int:
    """Make what the command line asks for and print its path; returns the exit status."""
    parser = argparse.ArgumentParser(prog="playground.models", description=__doc__)
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("make", help="make one version")
    make.add_argument("directory", type=Path, help="directory of all models")
    make.add_argument("--name", default="recsys", help="model; its versions lie in DIRECTORY/NAME")
    make.add_argument("--version", type=int, required=True)
    make.add_argument("--scale", type=float, default=0.5, help="y = scale * x + bias")
    make.add_argument("--bias", type=float, help="default: the version")
    make.add_argument("--break", dest="breakage", choices=sorted(BREAKAGES), help="make it broken in this way")
    options = parser.parse_args(arguments)
    base = options.directory / options.name
    try:
        if options.breakage:
            print(break_version(base, options.version, options.breakage))
        else:
            print(make_version(base, options.version, scale=options.scale, bias=options.bias))
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
