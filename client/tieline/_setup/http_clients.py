"""HTTP clients for the openai SDK: an ordinary client of httpx2 or httpx over Tieline's transport."""

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from tieline._http.messages import HttpRequest
from tieline._request.reply import Reply
from tieline._setup.core import Core
from tieline.errors import ConfigurationError, MissingExtraError

BASE_URL = "http://tieline.invalid/v1"
HTTP_LIBRARIES = ("httpx2", "httpx")
OPENAI_OVER_HTTPX2 = 3  # the first major version of the openai SDK that is made of httpx2
_TRANSPORTS_OWN = {"transport", "mounts", "proxy", "verify", "cert", "http1", "http2", "limits"}
_REFUSED_SETTINGS = _TRANSPORTS_OWN | {"follow_redirects"}


def async_http_client(core: Core, library: str | None, settings: dict[str, Any]) -> Any:
    """An asynchronous client of ``library``, by default the one that the openai SDK needs.

    Raises MissingExtraError without the library, ConfigurationError for an unknown one, or for a setting that
    would go past the transport or have no effect beside it.
    """
    _check_settings(settings)
    return _transports(http_library(library)).async_client(core.send, settings)


def sync_http_client(
    send: Callable[[HttpRequest], Reply], library: str | None, settings: dict[str, Any]
) -> Any:
    """The same for synchronous callers; ``send`` makes one request."""
    _check_settings(settings)
    return _transports(http_library(library)).sync_client(send, settings)


def http_library(name: str | None) -> str:
    """The library whose client ``http_client()`` returns: the one named, else the one that the installed
    openai SDK is made of, else what is installed.

    The two libraries don't mix: a transport of one fails inside a client of the other.
    """
    if name is not None:
        if name not in HTTP_LIBRARIES:
            raise ConfigurationError(f"library={name!r}: expected one of {', '.join(HTTP_LIBRARIES)}")
        return name
    try:
        return "httpx2" if int(version("openai").split(".")[0]) >= OPENAI_OVER_HTTPX2 else "httpx"
    except (PackageNotFoundError, ValueError):
        return "httpx" if find_spec("httpx2") is None and find_spec("httpx") is not None else "httpx2"


def _check_settings(settings: Mapping[str, Any]) -> None:
    if refused := sorted(_REFUSED_SETTINGS & settings.keys()):
        raise ConfigurationError(
            f"http_client({refused[0]}=): Tieline's transport has its own connections, TLS and redirects; "
            "leave it out (a private CA goes into SSL_CERT_FILE, a proxy into the client's own proxy=)"
        )


def _transports(name: str) -> Any:
    """The module that makes clients of this library."""
    try:
        if name == "httpx":
            from tieline._transports import httpx as httpx_transports

            return httpx_transports
        from tieline._transports import httpx2 as httpx2_transports

        return httpx2_transports
    except ImportError:
        raise MissingExtraError(name, name) from None
