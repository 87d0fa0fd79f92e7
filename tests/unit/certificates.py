"""Certificates for tests of TLS: an authority, and the files that an operator is given."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import trustme

from modelrollout.access import SecretFile, Tls

if TYPE_CHECKING:
    from pathlib import Path

_ROUNDS = itertools.count(1)


@dataclass
class Mounted:
    """A folder of files that flags name, as a mounted Secret is one."""

    folder: Path

    def file(self, name: str) -> SecretFile:
        """One of them, whether it is there or not."""
        return SecretFile(f"--{name}-file", self.folder / name)

    def put(self, name: str, content: bytes) -> SecretFile:
        """One of them with this content; as the kubelet does it, the file is another one each time."""
        made = self.folder / f"{name}.{next(_ROUNDS)}"
        made.write_bytes(content)
        os.replace(made, self.folder / name)  # noqa: PTH105 - over what is there
        return self.file(name)

    def tls(self, trusted: Authority, ours: Authority | None = None) -> Tls:
        """Trust in an authority, and a client's certificate from another one."""
        ca = self.put("ca", trusted.certificate)
        if ours is None:
            return Tls(ca)
        chain, key = ours.issue("operator")
        return Tls(ca, self.put("cert", chain), self.put("key", key))


@dataclass
class Authority:
    """Issues certificates."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def certificate(self) -> bytes:
        """Its own, in PEM form."""
        return self.ca.cert_pem.bytes()

    def issue(self, *names: str) -> tuple[bytes, bytes]:
        """A certificate for names or addresses, and its key."""
        issued = self.ca.issue_cert(*names)
        return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()

    def grpc_server(self, *names: str, clients: Authority | None = None) -> grpc.ServerCredentials:
        """What a gRPC server of these names needs; with `clients`, it asks for a certificate of that authority."""
        chain, key = self.issue(*names)
        return grpc.ssl_server_credentials(
            [(key, chain)], clients.certificate if clients else None, clients is not None
        )
