"""Addresses of pods, a small network for each node. Used by :mod:`playground.node_agent.agent`."""

from __future__ import annotations


class NoAddressError(Exception):
    """Every address of the node's network is in use."""


class Addresses:
    """Hands out ``<network>.2`` to ``<network>.254`` in turn, so that an address rests before it is used
    again.
    """

    def __init__(self, network: str) -> None:
        self._network = network
        self._last = 1
        self._used: set[int] = set()

    def take(self) -> str:
        """An address that nobody has."""
        for step in range(1, 254):
            host = 2 + (self._last - 2 + step) % 253
            if host not in self._used:
                self._used.add(host)
                self._last = host
                return f"{self._network}.{host}"
        raise NoAddressError(f"all addresses of {self._network}.0/24 are in use")

    def release(self, address: str) -> None:
        """Gives an address back that :meth:`take` gave."""
        self._used.discard(int(address.rpartition(".")[2]))

    def skip(self, address: str) -> None:
        """Hands out what comes after `address` next: an earlier agent gave it away, and somebody may
        remember.
        """
        network, _, host = address.rpartition(".")
        if network == self._network:
            self._last = max(self._last, int(host))
