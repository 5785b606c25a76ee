"""Each provider's URL and authentication, by the table's adapter name.

openai
    Any OpenAI-compatible server, such as CoreWeave or vLLM: ``https://HOST/v1``. Key as Bearer.
azure
    Azure OpenAI's v1 API: ``https://NAME.openai.azure.com/openai/v1``, the deployment as model, no
    api-version. Key in ``api-key``, Entra token as Bearer.
azure_classic
    Azure OpenAI's older API: ``https://NAME.openai.azure.com``; the deployment goes into the path and an
    api-version into the query. Secrets as for ``azure``.
vertex
    ``https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/endpoints/openapi``,
    models ``google/...``; for a model of your own its endpoint's id in place of ``openapi``. Token as Bearer.
    Gemini's own API is asked beside it, at ``.../locations/LOCATION/publishers/google/models/NAME:verb``.
oci
    ``https://inference.generativeai.REGION.oci.oraclecloud.com/openai/v1``. Key as Bearer.
anthropic
    Anthropic's Messages API: ``https://api.anthropic.com/v1``, or
    ``https://NAME.services.ai.azure.com/anthropic/v1``. Key in ``x-api-key``, token as Bearer.

The body names the model for all of them, but for Gemini's own API, whose paths do (``model_paths``): under
every other adapter it is asked at ``URL/models/NAME:verb``.
"""

from collections.abc import Callable
from urllib.parse import quote

from msgspec import Struct

from tieline.model_paths import model_path
from tieline.table import Adapter

AZURE_API_VERSION = "2024-10-21"  # of the classic API; its v1 has no versions
Header = tuple[bytes, bytes]


class Shape(Struct, frozen=True):
    """What differs between providers. ``url(base_url, path, model)`` takes the path behind ``/v1`` with its
    query; ``auth(secret, is_token)`` gives the header that carries the secret."""

    url: Callable[[str, str, str], str]
    auth: Callable[[str, bool], Header]


def _joined_url(base_url: str, path: str, model: str) -> str:
    if (named := model_path(path)) is not None:
        return named.under(base_url, model or named.model)
    return base_url.rstrip("/") + path


def _vertex_url(base_url: str, path: str, model: str) -> str:
    if (named := model_path(path)) is not None:
        return named.on_vertex(base_url, model)
    return base_url.rstrip("/") + path


def _azure_classic_url(base_url: str, path: str, model: str) -> str:
    """``/openai/deployments/MODEL/chat/completions?api-version=...``; an api-version of the caller's own
    stays. What names no model, such as a file, is not part of a deployment."""
    path, _, query = path.partition("?")
    if "api-version=" not in query:
        query = f"{query}&api-version={AZURE_API_VERSION}".lstrip("&")
    base_url = base_url.rstrip("/").removesuffix("/openai")
    deployment = f"/deployments/{quote(model, safe='')}" if model else ""
    return f"{base_url}/openai{deployment}{path}?{query}"


def _bearer(secret: str, is_token: bool) -> Header:  # noqa: ARG001
    return b"authorization", b"Bearer " + secret.encode("latin-1")


def _azure_auth(secret: str, is_token: bool) -> Header:
    """A key goes into ``api-key``, which both of Azure's APIs take, and an Entra token into
    ``Authorization``."""
    return _bearer(secret, is_token) if is_token else (b"api-key", secret.encode("latin-1"))


def _anthropic_auth(secret: str, is_token: bool) -> Header:
    return (b"x-api-key", secret.encode("latin-1")) if not is_token else _bearer(secret, is_token)


SHAPES: dict[Adapter, Shape] = {
    "openai": Shape(_joined_url, _bearer),
    "vertex": Shape(_vertex_url, _bearer),
    "oci": Shape(_joined_url, _bearer),
    "azure": Shape(_joined_url, _azure_auth),
    "azure_classic": Shape(_azure_classic_url, _azure_auth),
    "anthropic": Shape(_joined_url, _anthropic_auth),
}


def url_for(adapter: Adapter, base_url: str, *, path: str, model: str) -> str:
    """The whole URL of a request. ``path`` is what follows ``/v1`` (``/chat/completions``), query included;
    ``model`` is the pool's own name for the model."""
    return SHAPES[adapter].url(base_url, path, model)


def auth_for(adapter: Adapter, secret: str, *, is_token: bool) -> Header:
    """The header (name, value) that carries the secret. ``is_token``: it came from a function and expires, as
    the second value of ``Credentials.get`` says."""
    return SHAPES[adapter].auth(secret, is_token)
