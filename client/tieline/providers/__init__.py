"""PURE. How each provider wants a request: URL, model and authentication, by the table's adapter name."""

from collections.abc import Callable

from msgspec import Struct

from tieline._routing.route import Target
from tieline.providers import azure, compatible
from tieline.table import Adapter

Header = tuple[bytes, bytes]


class Shape(Struct, frozen=True):
    """``url(base, path, model)`` takes the path behind ``/v1`` with its query; ``auth(secret, is_token)``."""

    url: Callable[[str, str, str], str]
    auth: Callable[[str, bool], Header]


SHAPES: dict[Adapter, Shape] = {
    "openai": Shape(compatible.url, compatible.bearer),
    "vertex": Shape(compatible.url, compatible.bearer),
    "oci": Shape(compatible.url, compatible.bearer),
    "azure": Shape(compatible.url, azure.auth),
    "azure_classic": Shape(azure.classic_url, azure.auth),
}


def url_for(target: Target, path: str) -> str:
    """The whole URL of a request to this target."""
    return SHAPES[target.adapter].url(target.url, path, target.name)


def auth_for(target: Target, secret: str, *, is_token: bool) -> Header:
    """The header that carries the secret. ``is_token``: it came from a callable and expires."""
    return SHAPES[target.adapter].auth(secret, is_token)
