"""How to reach the API server and who we are, loaded by the kubernetes package. Used by `kube` and by kopf's login.

The package keeps service account tokens fresh; a kubeconfig is read again when the API server refuses its token.
"""

import asyncio
import os
import ssl

from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from modelrollout.errors import ClusterUnavailable


class Credentials:
    """One way to the API server."""

    def __init__(self, kubeconfig: str | None) -> None:
        """`kubeconfig` None: the pod's service account, else the default file."""
        self._kubeconfig = kubeconfig
        self._configuration: Configuration | None = None
        self._tls: ssl.SSLContext | None = None
        self._loading = asyncio.Lock()

    @property
    def server(self) -> str:
        """Address of the API server, once loaded."""
        return str(self._loaded.host).rstrip("/")

    @property
    def tls(self) -> ssl.SSLContext | bool:
        """What to verify the server with, and our certificate if we have one."""
        if self._tls is None:
            self._tls = _tls_context(self._loaded)
        return self._tls

    async def load(self) -> None:
        """Read everything anew. Raises ClusterUnavailable when nothing usable is there."""
        async with self._loading:
            try:
                self._configuration = await _load(self._kubeconfig)
            except (ConfigException, OSError, ValueError) as error:
                raise ClusterUnavailable(f"no usable credentials: {error}") from error

    async def headers(self) -> dict[str, str]:
        """The Authorization header as it is valid now; empty with a client certificate."""
        token = await self._loaded.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token} if token else {}

    @property
    def _loaded(self) -> Configuration:
        if self._configuration is None:
            raise ClusterUnavailable("no credentials were loaded")
        return self._configuration


async def _load(kubeconfig: str | None) -> Configuration:
    configuration = Configuration()
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig, client_configuration=configuration, persist_config=False
        )
    return configuration


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
