"""The three things that the box needs of the kernel's routing socket, so that no `ip` program has to be installed.

Only playground/box.py calls it, inside a fresh network namespace, where the loopback interface has index 1. The
numbers are those of linux/rtnetlink.h; docs: rtnetlink(7).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

_LOOPBACK = 1
_CHANGE = 0x001 | 0x004  # request, acknowledge
_ADD = _CHANGE | 0x400 | 0x200  # create, exclusive
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_UP = 1
_TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_HOST, _TYPE_LOCAL = 255, 3, 254, 2


def loopback_up() -> None:
    """`ip link set lo up`."""
    _ask(_NEWLINK, _CHANGE, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, _LOOPBACK, _UP, _UP))


def add_address(address: str) -> None:
    """`ip addr add ADDRESS/32 dev lo`."""
    packed = ipaddress.IPv4Address(address).packed
    header = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, _LOOPBACK)
    _ask(_NEWADDR, _ADD, header + _attribute(1, packed) + _attribute(2, packed))


def add_local_network(network: str) -> None:
    """`ip route add local NETWORK dev lo`: from then on every address of the network is this machine's own."""
    parsed = ipaddress.IPv4Network(network)
    header = struct.pack(
        "=BBBBBBBBI",
        *(socket.AF_INET, parsed.prefixlen, 0, 0),
        *(_TABLE_LOCAL, _PROTOCOL_BOOT, _SCOPE_HOST, _TYPE_LOCAL, 0),
    )
    device = _attribute(4, struct.pack("=I", _LOOPBACK))
    _ask(_NEWROUTE, _ADD, header + _attribute(1, parsed.network_address.packed) + device)


def _attribute(kind: int, value: bytes) -> bytes:
    """One attribute; all of ours have four bytes, so that none needs padding."""
    return struct.pack("=HH", 4 + len(value), kind) + value


def _ask(kind: int, flags: int, body: bytes) -> None:
    """Send one request and wait for its acknowledgement.

    Raises:
        OSError: the kernel refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))
