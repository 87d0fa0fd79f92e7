"""Connections to Prometheus: how they are secured, and what is said when one fails. Used by `prometheus` alone.

Nothing that is said holds a credential, not even when Prometheus itself repeats it.
"""

import base64
import binascii
import ssl
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth

from modelrollout.access import PrometheusAccess

_LONGEST = 500
_HIDDEN = "***"


def open_session(access: PrometheusAccess) -> requests.Session:
    """A client for one address, with what we prove ourselves by. Raises UnusableFile."""
    access.check()
    session, tls = requests.Session(), access.tls
    # No proxies for an address inside the cluster, and no passwords out of ~/.netrc.
    session.trust_env = False
    if tls.ca is not None:
        session.verify = str(tls.ca.path)
    if tls.certificate is not None and tls.key is not None:
        session.cert = (str(tls.certificate.path), str(tls.key.path))
    if access.token is not None:
        session.headers["Authorization"] = f"Bearer {access.token.line()}".encode()
    if access.user is not None and access.password is not None:
        session.auth = HTTPBasicAuth(access.user.line().encode(), access.password.line().encode())
    return session


def said(words: object, response: requests.Response) -> str:
    """What an answer says, in bounds, without the credentials of the request: some servers repeat those."""
    text = str(words)
    for secret in _credentials(response.request.headers.get("Authorization", "")):
        text = text.replace(secret, _HIDDEN)
    return text[:_LONGEST]


def _credentials(header: str | bytes) -> list[str]:
    """What must not be repeated of an Authorization header."""
    kind, _, credential = (header.decode() if isinstance(header, bytes) else header).partition(" ")
    found = [credential]
    if kind == "Basic":
        try:
            found.append(base64.b64decode(credential).decode().partition(":")[2])
        except (binascii.Error, ValueError):
            return found
    return [secret for secret in found if secret]


def why(host: str, error: Exception, status: int, heard: str) -> str:
    """What went wrong in a few words, without the address: it may hold a password.

    `status` and `heard` are those of the answer, 0 and empty when there was none.
    """
    if isinstance(error, requests.Timeout):
        return f"{host} did not answer in time"
    if (cause := _cause(error)) is not None:
        return f"{host}: {cause}"
    if heard:
        return f"{host}: {heard}"
    if isinstance(error, requests.ConnectionError):
        return f"{host} cannot be reached"
    if isinstance(error, requests.RequestException) and not status:
        return f"{host}: {type(error).__name__}"
    return f"{host} does not answer as Prometheus does"


def _cause(error: object) -> str | None:
    """What ended a connection that there was, dug out of what the libraries wrapped around it."""
    while isinstance(error, Exception) and not isinstance(error, ssl.SSLError | ConnectionResetError):
        error = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, Exception)), None)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    return "it closed the connection" if isinstance(error, ConnectionResetError) else None


def host_of(address: str) -> str:
    """Host and port, for people: without user and password."""
    return urlsplit(address).netloc.rpartition("@")[2] or "the Prometheus address"
