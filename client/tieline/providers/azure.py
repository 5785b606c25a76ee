"""Azure OpenAI. v1: ``https://NAME.openai.azure.com/openai/v1``, the deployment as model, no api-version.
Classic: the resource's own URL, the deployment in the path, an api-version in the query.
"""

from urllib.parse import quote

API_VERSION = "2024-10-21"


def classic_url(base: str, path: str, model: str) -> str:
    """``/openai/deployments/MODEL/chat/completions?api-version=...``; the caller's own api-version stays."""
    path, _, query = path.partition("?")
    if "api-version=" not in query:
        query = f"{query}&api-version={API_VERSION}".lstrip("&")
    base = base.rstrip("/").removesuffix("/openai")
    return f"{base}/openai/deployments/{quote(model, safe='')}{path}?{query}"


def auth(secret: str, is_token: bool) -> tuple[bytes, bytes]:
    """A key goes into ``api-key``, an Entra token into ``Authorization``."""
    if is_token:
        return b"authorization", b"Bearer " + secret.encode("latin-1")
    return b"api-key", secret.encode("latin-1")
