"""Writes what is kept of Helm's renders anew: the playground's manifest and the snapshots. `make chart` calls it.

Run it after a change of the chart, and read the difference: it is what users will install.
"""

from __future__ import annotations

import re

from playground.paths import REPOSITORY
from playground.toolchain.gobuild import HELM
from tests.chart.helm import RENDERS, Helm

_HEADER = "# The chart with {values}, as Helm renders it; `make chart` writes it anew.\n"


def main() -> None:
    """Write every file."""
    helm = Helm.built(HELM[0])
    for render in RENDERS:
        text = re.sub(r"\n{2,}", "\n", helm.render("-f", render.values))
        render.kept.parent.mkdir(exist_ok=True)
        render.kept.write_text(_HEADER.format(values=render.values.relative_to(REPOSITORY)) + text)


if __name__ == "__main__":
    main()
