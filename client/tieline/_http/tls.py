"""TLS contexts: which authorities are trusted, and by which certificate a client shows a pool who it is.

A client has one certificate for all pools, or one for each of them. Connections of one place but different
certificates are not the same: a request of one pool must not travel under the identity of another.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from tieline.errors import ConfigurationError, MissingExtraError

CertificateFiles: TypeAlias = str | Path | tuple[str | Path, str | Path]
ClientCertificate: TypeAlias = CertificateFiles | Mapping[str, CertificateFiles]
Key = tuple[str, str, int]  # scheme, host, port
IdleKey = tuple[str | int, ...]  # a place's key, and the name of a certificate where those differ by pool
EVERY_POOL = ""
NO_POOL = "/"  # what no pool's name begins with


class Certificates:
    """The contexts of one client, each made when it is first needed. Thread-safe.

    ``client_cert``: the PEM file of a certificate and its key, or the files (certificate, key), for all
    pools; or a mapping to such files from the beginning of pools' names: ``provider``, ``provider/region`` or
    the whole name, of which the longest counts. Pools that are not in a mapping are shown none.
    """

    def __init__(self, client_cert: ClientCertificate | None = None) -> None:
        self._by_pool = isinstance(client_cert, Mapping)
        if isinstance(client_cert, Mapping):
            self._files = dict(client_cert)
        else:
            self._files = {EVERY_POOL: client_cert} if client_cert is not None else {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = Lock()

    def check(self) -> None:
        """Read all certificates now. Raises ConfigurationError for the first that can't be read."""
        for name in self._files:
            self.context(name)

    def name_for(self, pool: str) -> str:
        """The name of the certificate that this pool is shown."""
        if not self._by_pool:
            return EVERY_POOL
        name = pool
        while name and name not in self._files:
            name = name.rpartition("/")[0]
        return name

    def idle_key(self, key: Key, pool: str) -> IdleKey:
        """Connections of one idle key may carry each other's requests."""
        return (*key, self.name_for(pool)) if self._by_pool else key

    @property
    def for_proxies(self) -> ssl.SSLContext:
        """Without any certificate: who the client is concerns pools only."""
        return self.context(NO_POOL)

    def context(self, name: str = EVERY_POOL) -> ssl.SSLContext:
        """With the certificate of this name, if there is one."""
        with self._lock:
            context = self._contexts.get(name)
            if context is None:
                context = self._contexts[name] = tls_context()
                if name in self._files:
                    _show(context, self._files[name], name)
            return context


def tls_context() -> ssl.SSLContext:
    """The context that httpx2 or httpx would use: their authorities, and what the environment says. Raises
    MissingExtraError when neither is installed."""
    try:
        from httpx2 import create_ssl_context
    except ImportError:
        try:
            from httpx import create_ssl_context
        except ImportError:
            raise MissingExtraError("httpx2", "httpx2") from None
    context = create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _show(context: ssl.SSLContext, files: CertificateFiles, name: str) -> None:
    certificate, key = files if isinstance(files, tuple) else (files, None)
    try:
        context.load_cert_chain(certificate, key, password="")  # never asks the terminal
    except (OSError, TypeError, ValueError) as error:
        place = f"client_cert[{name!r}]" if name else "client_cert"
        raise ConfigurationError(
            f"{place}: {type(error).__name__}: expected the path of a PEM file with a certificate and its "
            "key, or (certificate, key)"
        ) from None
