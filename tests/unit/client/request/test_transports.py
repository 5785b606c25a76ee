"""What goes to a provider and what comes back: URLs, secrets, headers, classes."""

import pytest

from tests.unit.client.made_tables import Time, target
from tieline import providers as _providers
from tieline._http.messages import Ask, request_headers, retry_after_ms
from tieline._request.outcome import classify, classify_error_event
from tieline._request.reply import refusal
from tieline._routing.route import Reason, Shed, Target
from tieline.credentials import Credentials, MissingCredentialError
from tieline.events import ResultClass
from tieline.table import Adapter

CHAT = "/chat/completions"


def shaped(adapter: Adapter, url: str) -> Target:
    """A target of that provider's shape."""
    return Target("a/r/x", url, adapter, "key", "m", "gpt-4o", "eu", "l:1:1", target("a/r/x").report)


@pytest.mark.parametrize(
    ("adapter", "base", "expected"),
    [
        ("openai", "https://cw.example/v1/", "https://cw.example/v1/chat/completions"),
        (
            "azure",
            "https://n.openai.azure.com/openai/v1",
            "https://n.openai.azure.com/openai/v1/chat/completions",
        ),
        (
            "azure_classic",
            "https://n.openai.azure.com",
            "https://n.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        ("vertex", "https://l/v1/x/endpoints/openapi", "https://l/v1/x/endpoints/openapi/chat/completions"),
        ("oci", "https://inference/openai/v1", "https://inference/openai/v1/chat/completions"),
    ],
)
def test_urls(adapter: Adapter, base: str, expected: str) -> None:
    """Each provider's own shape."""
    assert _providers.url_for(shaped(adapter, base), CHAT) == expected


def test_secrets_go_where_each_provider_wants_them() -> None:
    """Bearer everywhere; at Azure a key goes into api-key and a token into Authorization."""
    bearer, key = (b"authorization", b"Bearer s"), (b"api-key", b"s")
    assert _providers.auth_for(shaped("vertex", ""), "s", is_token=True) == bearer
    assert _providers.auth_for(shaped("oci", ""), "s", is_token=False) == bearer
    assert _providers.auth_for(shaped("azure", ""), "s", is_token=False) == key
    assert _providers.auth_for(shaped("azure_classic", ""), "s", is_token=True) == bearer


async def test_secrets_come_from_mapping_callable_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing secret names the variable to set."""
    held = Credentials({"a": "plain", "b": lambda: "made"}, Time())
    assert await held.get("a") == ("plain", False)
    assert await held.get("b") == ("made", True)
    monkeypatch.setenv("TIELINE_CREDENTIAL_OCI_UK", "outside")
    assert await held.get("oci-uk") == ("outside", False)
    with pytest.raises(MissingCredentialError, match="set TIELINE_CREDENTIAL_GCP"):
        await held.get("gcp")


def test_the_callers_secrets_and_our_options_stay_here() -> None:
    """authorization, api-key, host, content-length and x-tieline-* are dropped; a request id is added."""
    given = {
        "Host": "tieline.invalid",
        "Authorization": "Bearer unused",
        "api-key": "k",
        "x-tieline-session": "s",
        "content-length": "3",
        "Accept-Encoding": "gzip",
        "x-stainless-lang": "python",
    }
    ask = Ask(
        "POST",
        CHAT,
        [(n.encode(), v.encode()) for n, v in given.items()],
        b"{}",
        {n.lower(): v for n, v in given.items()},
    )
    sent = request_headers(ask, "id-1", (b"authorization", b"Bearer s"), stream=True)
    assert sent == [
        (b"x-stainless-lang", b"python"),
        (b"accept-encoding", b"identity"),
        (b"x-request-id", b"id-1"),
        (b"authorization", b"Bearer s"),
    ]
    own = Ask("POST", CHAT, [(b"X-Request-Id", b"mine")], b"{}", {"x-request-id": "mine"})
    assert request_headers(own, "mine", None, stream=False) == [(b"X-Request-Id", b"mine")]


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "ok"),
        (302, "server_error"),
        (400, "client_error"),
        (401, "auth"),
        (403, "auth"),
        (404, "not_found"),
        (408, "timeout"),
        (413, "client_error"),
        (422, "client_error"),
        (429, "throttled"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_statuses(status: int, result: str) -> None:
    """Each status has its class; a redirect is a broken endpoint."""
    assert classify(status, has_model=True) == result


def test_a_404_without_a_model_is_the_callers() -> None:
    """An unknown path says nothing about a pool."""
    assert classify(404, has_model=False) is ResultClass.CLIENT_ERROR


def test_error_events() -> None:
    """A rate limit inside a stream is capacity; a filtered prompt is the caller's; the rest is the server."""
    assert classify_error_event({"code": "rate_limit_exceeded"}) is ResultClass.THROTTLED
    assert classify_error_event({"code": 429}) is ResultClass.THROTTLED
    assert classify_error_event({"code": "content_filter"}) is ResultClass.CLIENT_ERROR
    assert classify_error_event("boom") is ResultClass.SERVER_ERROR


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 250),
        ({"Retry-After": "1.5"}, 1_500),
        ({"retry-after": "86400"}, 300_000),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 4_000),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, 0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: int | None) -> None:
    """Milliseconds first, then seconds or a date; at most 300 s; nonsense is nothing."""
    assert retry_after_ms([(n.encode(), v.encode()) for n, v in headers.items()], 6_000) == expected


def test_refusals_are_plain_http() -> None:
    """Shed is 429 with the table's reason, no table is 503; both tell the SDK not to try again."""
    shed = refusal(Shed(Reason.SHED, "no capacity", 1_200))
    assert shed.status == 429
    assert (b"retry-after", b"2") in shed.headers
    assert b"no capacity" in shed.body
    none = refusal(Shed(Reason.NO_POOL, "every pool is out", None, ("a/r/x: auth",)))
    assert none.status == 503
    assert b"a/r/x: auth" in none.body
    for reply in (shed, none):
        assert (b"x-should-retry", b"false") in reply.headers
