"""Files that flags name: what is made of them, when anew, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelrollout.access import Fresh, PrometheusAccess, SecretFile, Tls
from modelrollout.errors import UnusableFile
from tests.unit.certificates import Authority, Mounted

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHORITY = Authority()
ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"


def test_what_is_made_of_a_file_is_kept_until_the_file_is_another(tmp_path: Path) -> None:
    """One object for many uses; after a rotation a new one."""
    mounted = Mounted(tmp_path)
    token = mounted.put("token", b"first\n")
    made = Fresh([token], lambda: [token.line()])
    first = made.get()
    assert made.get() is first
    mounted.put("token", b"other\n")
    assert (first, made.get()) == (["first"], ["other"])


def test_a_file_that_comes_back_is_read_again(tmp_path: Path) -> None:
    """An error is not kept: a Secret that is mounted late is used as soon as it is there."""
    mounted = Mounted(tmp_path)
    made = Fresh([mounted.file("token")], mounted.file("token").line)
    with pytest.raises(UnusableFile):
        made.get()
    mounted.put("token", b"here")
    assert made.get() == "here"


def test_files_that_fit_are_fine(tmp_path: Path) -> None:
    """An authority, and a certificate with its key."""
    Mounted(tmp_path).tls(AUTHORITY, AUTHORITY).check()
    Tls().check()


def _other_key(mounted: Mounted, tls: Tls) -> SecretFile | None:
    mounted.put("key", AUTHORITY.issue("operator")[1])
    return tls.key


def _encrypted_key(mounted: Mounted, tls: Tls) -> SecretFile | None:
    mounted.put("key", ENCRYPTED)
    return tls.key


def _no_certificate(mounted: Mounted, tls: Tls) -> SecretFile | None:
    mounted.put("cert", b"hello")
    return tls.certificate


def _no_authority(mounted: Mounted, tls: Tls) -> SecretFile | None:
    mounted.put("ca", b"")
    return tls.ca


def _missing(_: Mounted, tls: Tls) -> SecretFile | None:
    assert tls.key is not None
    tls.key.path.unlink()
    return tls.key


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_other_key, "is not the key of"),
        (_encrypted_key, "without a password"),
        (_no_certificate, "holds no certificate"),
        (_no_authority, "holds no certificate"),
        (_missing, "No such file"),
    ],
)
def test_the_error_names_flag_and_path(
    tmp_path: Path, spoil: Callable[[Mounted, Tls], SecretFile | None], words: str
) -> None:
    """Whoever reads it knows which file to mend, and nothing of what is in it."""
    mounted = Mounted(tmp_path)
    tls = mounted.tls(AUTHORITY, AUTHORITY)
    culprit = spoil(mounted, tls)
    assert culprit is not None
    with pytest.raises(UnusableFile, match=words) as caught:
        tls.check()
    assert str(caught.value).startswith(f"{culprit.flag} {culprit.path}: ")
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("content", [b" \n", b"two\nlines", b"\xff\xfe"])
def test_a_token_is_one_line(tmp_path: Path, content: bytes) -> None:
    """What is none is told as such, not by Prometheus as a missing right."""
    wrong = PrometheusAccess(token=Mounted(tmp_path).put("token", content))
    with pytest.raises(UnusableFile, match=r"--token-file .*/token: does not hold one line of text"):
        wrong.check()


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("https://prometheus.monitoring:9090", True),
        ("https://Prometheus.monitoring:9090/prefix", True),
        ("http://prometheus.monitoring:9090", False),
        ("https://prometheus.monitoring", False),
        ("https://prometheus.monitoring:9090@elsewhere", False),
        ("https://elsewhere:9090", False),
        ("https://prometheus.monitoring:port", False),
    ],
)
def test_credentials_are_for_the_named_addresses_alone(address: str, meant: bool) -> None:
    """Scheme, host and port have to be those that the operator was started with; a path does not matter."""
    access = PrometheusAccess(frozenset({"https://prometheus.monitoring:9090"}), user=SecretFile("--u", Path("u")))
    assert (access.for_address(address) is access) is meant
