"""Puts itself between operators and the API server or Prometheus, and disturbs what passes by rules that tests write.

The program (`python -m playground.interference`) runs in the box and forwards for any number of lanes: a lane is
somebody's own way through it, with rules, journal and process of its own. Tests use `Interference` from the host.

    http://127.0.0.1:PORT/<upstream>/<lane>/<path as the upstream knows it>

docs/design.md, "The playground".
"""

from playground.interference.journal import Entry
from playground.interference.lanes import Interference, Lane
from playground.interference.operators import Operator
from playground.interference.rules import WATCHES, WRITES, Rule

__all__ = ["WATCHES", "WRITES", "Entry", "Interference", "Lane", "Operator", "Rule"]
