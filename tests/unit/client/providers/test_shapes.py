"""How each provider is asked: its URL, and the header that carries the secret."""

import pytest

from tieline.providers import auth_for, url_for
from tieline.table import Adapter

CHAT = "/chat/completions"
AZURE = "https://n.openai.azure.com"
CLASSIC = f"{AZURE}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("adapter", "base_url", "expected"),
    [
        ("openai", "https://cw.example/v1/", "https://cw.example/v1/chat/completions"),
        ("azure", f"{AZURE}/openai/v1", f"{AZURE}/openai/v1/chat/completions"),
        ("azure_classic", AZURE, CLASSIC),
        ("azure_classic", f"{AZURE}/openai/", CLASSIC),
        ("vertex", "https://l/v1/x/endpoints/openapi", "https://l/v1/x/endpoints/openapi/chat/completions"),
        ("oci", "https://inference/openai/v1", "https://inference/openai/v1/chat/completions"),
    ],
)
def test_each_provider_has_its_own_url(adapter: Adapter, base_url: str, expected: str) -> None:
    """The path follows the base URL; Azure's classic API names the deployment and a version as well."""
    assert url_for(adapter, base_url, path=CHAT, model="gpt-4o") == expected


def test_azure_classic_keeps_the_callers_version_and_escapes_the_deployment() -> None:
    """A caller may need another version, and a name with a slash must not become a path."""
    url = url_for("azure_classic", AZURE, path=f"{CHAT}?api-version=2025-01-01", model="a/b")
    assert url == f"{AZURE}/openai/deployments/a%2Fb/chat/completions?api-version=2025-01-01"


@pytest.mark.parametrize("adapter", ["openai", "vertex", "oci"])
@pytest.mark.parametrize("is_token", [False, True])
def test_secrets_are_bearer(adapter: Adapter, is_token: bool) -> None:
    """Keys and tokens alike."""
    assert auth_for(adapter, "s", is_token=is_token) == (b"authorization", b"Bearer s")


@pytest.mark.parametrize("adapter", ["azure", "azure_classic"])
def test_azure_takes_keys_and_tokens_in_different_headers(adapter: Adapter) -> None:
    """A key goes into ``api-key`` and an Entra token into ``Authorization``."""
    assert auth_for(adapter, "s", is_token=False) == (b"api-key", b"s")
    assert auth_for(adapter, "s", is_token=True) == (b"authorization", b"Bearer s")
