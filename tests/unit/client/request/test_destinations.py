"""Where a secret may be sent."""

from __future__ import annotations

import pytest

import tieline
from tieline._request.destinations import Destinations
from tieline.credentials import Credentials, ForHosts
from tieline.errors import ConfigurationError
from tieline.table import Adapter

AZURE = "https://contoso.openai.azure.com/openai/v1"


def destinations(*, environment: dict[str, str] | None = None, **sources: ForHosts) -> Destinations:
    return Destinations(Credentials(sources, lambda: 0, environment or {}).hosts_of)


def refused(places: Destinations, adapter: Adapter, url: str, name: str = "key") -> str:
    try:
        places.check(name, adapter, url)
    except tieline.MissingCredentialError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("adapter", "url"),
    [
        ("azure", AZURE),
        ("azure_classic", "https://contoso.openai.azure.com"),
        ("azure", "https://contoso.services.ai.azure.com/openai/v1"),
        ("vertex", "https://europe-west4-aiplatform.googleapis.com/v1/projects/p"),
        ("oci", "https://inference.generativeai.uk-london-1.oci.oraclecloud.com/openai/v1"),
        ("openai", "https://llm.example.com/v1"),
        ("openai", "http://127.0.0.1:8000/v1"),
        ("azure", "http://localhost:8000/v1"),
        ("azure", "http://[::1]:8000/v1"),
    ],
)
def test_providers_own_hosts_and_this_machine(adapter: Adapter, url: str) -> None:
    """A secret without hosts of its own goes to its provider, to any server that speaks OpenAI's API, and to
    this machine."""
    assert refused(destinations(), adapter, url) == ""


@pytest.mark.parametrize(
    ("adapter", "url"),
    [
        ("azure", "http://contoso.openai.azure.com/openai/v1"),
        ("openai", "http://llm.example.com/v1"),
        ("azure", "https://evil.example.com/openai/v1"),
        ("azure", "https://openai.azure.com.evil.example.com/v1"),
        ("azure", "https://evil.example.com/contoso.openai.azure.com"),
        ("azure", "https://contoso.openai.azure.com@evil.example.com/v1"),
        ("vertex", "https://googleapis.com.evil.example.com"),
        ("oci", "https://evil.oci.oraclecloud.com"),
        ("azure", "https:///v1"),
    ],
)
def test_other_hosts_and_plain_http_are_refused(adapter: Adapter, url: str) -> None:
    """Whatever a table says; the error names the host, and never the secret."""
    assert "credential 'key'" in refused(destinations(), adapter, url)


def test_hosts_that_are_given_with_a_secret_are_the_only_ones() -> None:
    """By name or pattern, also against the provider's own; a whole origin allows plain http there."""
    places = destinations(key=ForHosts("s", "llm.example.com", "*.corp", "http://standin:8000"))
    for url in (
        "https://LLM.example.com/v1",
        "https://a.corp/v1",
        "http://standin:8000/v1",
        "http://127.0.0.1",
    ):
        assert refused(places, "azure", url) == ""
    for url in (AZURE, "https://example.com", "http://llm.example.com", "http://standin:8001/v1"):
        assert refused(places, "azure", url)


def test_hosts_from_the_environment() -> None:
    """``TIELINE_CREDENTIAL_<NAME>_HOSTS``, separated by commas."""
    places = destinations(environment={"TIELINE_CREDENTIAL_KEY_HOSTS": "a.example.com, b.example.com"})
    assert refused(places, "openai", "https://b.example.com/v1") == ""
    assert refused(places, "openai", "https://c.example.com/v1")


def test_a_secret_stays_with_its_provider() -> None:
    """A table that names another adapter for a known credential doesn't free it; both of Azure's are one."""
    places = destinations()
    assert refused(places, "azure", AZURE) == ""
    assert refused(places, "azure_classic", AZURE) == ""
    assert "was sent to azure" in refused(places, "openai", "https://evil.example.com/v1")
    assert refused(places, "openai", "https://llm.example.com/v1", "other") == ""


def test_hosts_must_be_given() -> None:
    """``ForHosts`` without a host would mean nothing."""
    with pytest.raises(ConfigurationError):
        ForHosts("s")
    assert "secret" not in repr(ForHosts("secret", "a"))
