"""Whom the operator trusts and how it proves who it is, to Prometheus and to model servers: files that flags name.

Read by `settings`, used by the adapters. Every file may be replaced while the operator runs, as the kubelet does with
mounted Secrets: what is made of it is made anew at the next use.
"""

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from modelrollout.errors import UnusableFile

T = TypeVar("T")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file, and the flag that names it. Methods raise UnusableFile, which tells both and nothing of the content."""

    flag: str
    path: Path

    def stamp(self) -> tuple[int, int, int]:
        """Another one once the content was replaced."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise self.unusable(error.strerror) from None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def content(self) -> bytes:
        """All that is in it."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self.unusable(error.strerror) from None

    def line(self) -> str:
        """What is in it, which has to be one line of text."""
        try:
            found = self.content().decode().strip()
        except UnicodeDecodeError:
            found = ""
        if not found.isprintable() or not found:
            raise self.unusable("does not hold one line of text")
        return found

    def unusable(self, why: str | None) -> UnusableFile:
        """The error that says why."""
        return UnusableFile(f"{self.flag} {self.path}: {why}")


class Fresh(Generic[T]):
    """What is made of some files, made anew once one of them changed."""

    def __init__(self, files: Iterable[SecretFile], make: Callable[[], T]) -> None:
        """Nothing is read before it is asked for."""
        self._files = tuple(files)
        self._make = make
        self._made: tuple[object, T] | None = None

    def get(self) -> T:
        """The same object as long as no file changed. Raises what `make` does, and UnusableFile."""
        # Before they are read: what changes meanwhile is seen next time.
        stamps = tuple(file.stamp() for file in self._files)
        if self._made is None or self._made[0] != stamps:
            self._made = (stamps, self._make())
        return self._made[1]


@dataclass(frozen=True, slots=True)
class Tls:
    """The authorities that a server's certificate must be from (the system's if None), and our own certificate."""

    ca: SecretFile | None = None
    certificate: SecretFile | None = None
    key: SecretFile | None = None

    @property
    def files(self) -> tuple[SecretFile, ...]:
        """Those that are named."""
        return tuple(file for file in (self.ca, self.certificate, self.key) if file is not None)

    def context(self) -> ssl.SSLContext:
        """Our side of a connection. Raises UnusableFile when a file is missing or is not what it should be."""
        context = _trusting(self.ca)
        # As HTTP clients have it: no certificate without alternative names, and a server may ask for ours late.
        context.hostname_checks_common_name, context.post_handshake_auth = False, True
        if self.certificate is not None and self.key is not None:
            # Looked at for its own sake: loading it with the key does not say which of the two is wrong.
            _trusting(self.certificate)
            _load_key(context, self.certificate, self.key)
        return context

    def check(self) -> None:
        """Raises UnusableFile."""
        self.context()


@dataclass(frozen=True, slots=True)
class ModelServerAccess:
    """TLS to model servers, plain gRPC without a CA. `name` is what their certificates are for, "" for their IP."""

    tls: Tls = field(default_factory=Tls)
    name: str = ""

    def check(self) -> None:
        """Raises UnusableFile."""
        self.tls.check()


@dataclass(frozen=True, slots=True)
class PrometheusAccess:
    """For Prometheus at these `origins` alone: whoever writes a ModelRollout chooses an address, and may not be meant.

    At most one of `token` and `user` with `password` is set.
    """

    origins: frozenset[str] = frozenset()
    tls: Tls = field(default_factory=Tls)
    token: SecretFile | None = None
    user: SecretFile | None = None
    password: SecretFile | None = None

    @property
    def files(self) -> tuple[SecretFile, ...]:
        """All that are named."""
        return (*self.tls.files, *(file for file in (self.token, self.user, self.password) if file is not None))

    def for_address(self, address: str) -> "PrometheusAccess":
        """This, or nothing at all for an address that is not among its origins."""
        try:
            return self if origin(address) in self.origins else PrometheusAccess()
        except ValueError:
            return PrometheusAccess()

    def check(self) -> None:
        """Raises UnusableFile."""
        self.tls.check()
        for file in (self.token, self.user, self.password):
            if file is not None:
                file.line()


def origin(address: str) -> str:
    """Scheme, host and port of an address. Raises ValueError when it has none."""
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{address!r} is no http or https address")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"


def _trusting(certificates: SecretFile | None) -> ssl.SSLContext:
    """The certificates of this file alone, or the system's. Raises UnusableFile."""
    if certificates is None:
        return ssl.create_default_context()
    certificates.stamp()
    try:
        return ssl.create_default_context(cafile=certificates.path)
    except ssl.SSLError:
        raise certificates.unusable("holds no certificate in PEM form") from None
    except OSError as error:
        raise certificates.unusable(error.strerror) from None


def _load_key(context: ssl.SSLContext, certificate: SecretFile, key: SecretFile) -> None:
    key.stamp()
    try:
        # The empty password: without, one that a key asks for would be waited for at a terminal.
        context.load_cert_chain(certificate.path, key.path, password="")
    except (ssl.SSLError, ValueError) as error:
        other = getattr(error, "reason", None) == "KEY_VALUES_MISMATCH"
        why = f"is not the key of {certificate.path}" if other else "holds no key in PEM form without a password"
        raise key.unusable(why) from None
    except OSError as error:
        raise key.unusable(error.strerror) from None
