"""What goes to a provider and what comes back, as headers."""

import pytest

from tieline._http.messages import HttpRequest, reply_headers, request_headers, retry_after_ms

CHAT = "/chat/completions"


def test_the_callers_secrets_and_our_options_stay_here() -> None:
    """The caller's secrets, cookies, host, length and x-tieline-* are dropped, and what belongs to its
    connection; a request id is added."""
    headers = {
        "Host": "tieline.invalid",
        "Authorization": "Bearer unused",
        "api-key": "k",
        "x-tieline-session": "s",
        "content-length": "3",
        "Accept-Encoding": "gzip",
        "Cookie": "a=b",
        "Connection": "X-Hop , keep-alive",
        "x-hop": "mine",
        "TE": "trailers",
        "Upgrade": "h2c",
        "x-stainless-lang": "python",
    }
    request = HttpRequest(
        "POST",
        CHAT,
        [(name.encode(), value.encode()) for name, value in headers.items()],
        body=b"{}",
        named={name.lower(): value for name, value in headers.items()},
    )
    assert request_headers(request, "id-1", (b"authorization", b"Bearer s"), stream=True) == [
        (b"x-stainless-lang", b"python"),
        (b"accept-encoding", b"identity"),
        (b"x-request-id", b"id-1"),
        (b"authorization", b"Bearer s"),
    ]


def test_a_request_id_of_the_callers_own_stays() -> None:
    """So that both ends find the request under one id."""
    headers = [(b"X-Request-Id", b"mine")]
    request = HttpRequest("POST", CHAT, headers, body=b"{}", named={"x-request-id": "mine"})
    assert request_headers(request, "mine", None, stream=False) == headers


def test_what_belongs_to_a_connection_stays_with_it() -> None:
    """The caller's connection has a length and a keep-alive of its own. A cookie stays here too: the caller's
    HTTP library would send it to every provider."""
    headers = [
        (b"Content-Length", b"9"),
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"theirs"),
        (b"Set-Cookie", b"a=b"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Trailer", b"x-sum"),
        (b"x-ms-region", b"eu"),
    ]
    assert reply_headers(headers) == [(b"x-ms-region", b"eu")]


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
    """Milliseconds first, then seconds or a date; at most 300 s; what makes no sense is nothing."""
    assert retry_after_ms([(n.encode(), v.encode()) for n, v in headers.items()], 6_000) == expected
