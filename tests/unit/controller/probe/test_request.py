"""What one probe asks: the same URL, secret and body as the client library would send."""

import msgspec

from controller.probe.request import PROBE_ID_PREFIX, ProbeTarget


def test_a_probe_asks_for_one_token() -> None:
    """As a stream, under an id that tells it from applications' requests; the body names the model."""
    target = ProbeTarget("azure/eastus/a", "https://a.example/v1/", "azure", model="gpt-4o")
    url, headers, body = target.request(f"{PROBE_ID_PREFIX}1", None)
    fields = msgspec.json.decode(body)
    assert url == "https://a.example/v1/chat/completions"
    assert (fields["model"], fields["max_tokens"], fields["stream"]) == ("gpt-4o", 1, True)
    assert (b"x-request-id", b"probe-1") in headers
    assert (b"accept-encoding", b"identity") in headers


def test_azure_gets_a_key_where_it_takes_one() -> None:
    """In ``api-key``, also by its v1 API; a token goes into ``Authorization``."""
    target = ProbeTarget("azure/eastus/a", "https://a.example/openai/v1", "azure", model="gpt-4o")
    assert target.auth("hush", is_token=False) == (b"api-key", b"hush")
    assert target.auth("hush", is_token=True) == (b"authorization", b"Bearer hush")
    assert (b"api-key", b"hush") in target.request("probe-1", (b"api-key", b"hush"))[1]


def test_azure_classic_names_the_deployment_in_the_path() -> None:
    """Also where the policy's URL ends in /openai, and where a deployment's name needs escaping."""
    for base_url in ("https://a.example", "https://a.example/openai/"):
        target = ProbeTarget("a/b/c", base_url, "azure_classic", model="dep/1")
        url, _, _ = target.request("probe-1", None)
        assert url == ("https://a.example/openai/deployments/dep%2F1/chat/completions?api-version=2024-10-21")
