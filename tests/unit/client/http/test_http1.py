"""HTTP/1.1 without a socket: whatever way the bytes come in, the same answer comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline._http.content import Spliced, pieces_of
from tieline._http.http1 import Http1, place_of
from tieline._http.messages import WireError
from tieline.events import ResultClass

WHOLE = b"HTTP/1.1 200 OK\r\nX-Kind: Plain\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
)
PLACE = place_of("https://pool.example/v1/x?y=1")


def asked() -> Http1:
    """A connection that waits for its answer."""
    http = Http1()
    http.request("POST", PLACE, [(b"X-A", b"1")], b"{}")
    return http


def read(http: Http1, pieces: list[bytes]) -> bytes:
    """The body, fed piece by piece."""
    coming, found = iter(pieces), b""
    while http.head() is None if not http.headed else False:
        http.receive(next(coming))
    while True:
        data = http.body()
        if data is None:
            http.receive(next(coming))
        elif data:
            found += data
        else:
            return found


@given(st.sampled_from([WHOLE, CHUNKED]), st.data())
def test_bytes_may_come_in_any_pieces(message: bytes, data: st.DataObject) -> None:
    """The body is the same, and the connection can be used again."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(message) - 1))))
    pieces = [message[i:j] for i, j in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    http = asked()
    assert read(http, pieces) == b"hello"
    assert http.reusable()
    http.request("POST", PLACE, [], b"")
    assert read(http, pieces) == b"hello"


@given(st.sampled_from([WHOLE, CHUNKED]), st.data())
def test_a_connection_that_ends_early_is_told_apart(message: bytes, data: st.DataObject) -> None:
    """Before the answer's head it is a failed connection, after it a cut; what came whole is given first."""
    cut = data.draw(st.integers(0, len(message) - 1))
    http = asked()
    with pytest.raises(WireError) as caught:
        read(http, [message[:cut] or b"", b""])
    before_head = b"\r\n\r\n" not in message.removeprefix(b"HTTP/1.1 103 Early Hints\r\n\r\n")[: max(0, cut)]
    if message is WHOLE:
        assert caught.value.result is (ResultClass.CONNECT if before_head else ResultClass.CUT)
    assert not http.reusable()


def test_what_was_asked() -> None:
    """Host and length are made here; every other header is sent as it was given."""
    sent = Http1().request("POST", PLACE, [(b"X-A", b"1")], b"{}")
    assert sent == (
        b"POST /v1/x?y=1 HTTP/1.1\r\nhost: pool.example\r\nX-A: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"",
    )
    with pytest.raises(WireError) as caught:
        Http1().request("POST", PLACE, [(b"x-a", b"1\r\nx-b: 2")], b"{}")
    assert caught.value.result is ResultClass.CLIENT_ERROR


def test_a_server_that_closes_is_not_used_again() -> None:
    """Nor is one that sends more than it was asked for."""
    closing = asked()
    assert read(closing, [WHOLE.replace(b"X-Kind: Plain", b"connection: close")]) == b"hello"
    assert not closing.reusable()
    talking = asked()
    assert read(talking, [WHOLE + b"HTTP/1.1 200 OK\r\n"]) == b"hello"
    assert not talking.reusable()


@pytest.mark.parametrize(
    ("url", "key", "host"),
    [
        ("http://h:8080/v1", ("http", "h", 8080), b"h:8080"),
        ("https://H.example", ("https", "h.example", 443), b"h.example"),
        ("http://[::1]:80/", ("http", "::1", 80), b"[::1]"),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443), b"xn--bcher-kva.example"),
    ],
)
def test_places(url: str, key: tuple[str, str, int], host: bytes) -> None:
    """A URL says where to connect to and what to write into the Host header."""
    place = place_of(url)
    assert (place.key, place.host_header) == (key, host)


@pytest.mark.parametrize("url", ["ftp://x", "https://", "http://h:99999/", "nonsense", "http://h/\u00e9"])
def test_urls_that_cant_be_used(url: str) -> None:
    """They fail like a connection: the table is wrong there, and another pool may be right."""
    with pytest.raises(WireError) as caught:
        place_of(url)
    assert caught.value.result is ResultClass.CONNECT


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"timeout=5", 5.0),
        (b"max=100, Timeout = 75", 75.0),
        (b'timeout="5"', 5.0),
        (b"max=5", None),
        (b"xtimeout=5", None),
        (b"timeout=soon", None),
    ],
)
def test_for_how_long_a_server_keeps_a_connection(line: bytes, seconds: float | None) -> None:
    """It says so in the header ``Keep-Alive`` of each answer; one that doesn't say is None."""
    http = asked()
    http.receive(WHOLE.replace(b"X-Kind: Plain", b"Keep-Alive: " + line))
    assert http.head() is not None
    assert http.keep_alive_s == seconds


@given(st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_a_spliced_body_is_sent_as_one(body: bytes, start: int, end: int) -> None:
    """Its length and its bytes are those of the parts in their order."""
    whole = memoryview(body)
    spliced = Spliced((whole[:start], memoryview(b"new"), whole[end:]))
    beginning, rest = Http1().request("POST", PLACE, [], spliced)
    sent = b"".join(pieces_of(rest))
    assert sent == body[:start] + b"new" + body[end:]
    assert beginning.endswith(b"content-length: %d\r\n\r\n" % len(sent))


def test_a_large_body_is_not_copied() -> None:
    """It follows the head as the object that it is, in pieces that are parts of it."""
    body = b"x" * 1_000_000
    beginning, rest = Http1().request("POST", PLACE, [], body)
    assert beginning.endswith(b"content-length: 1000000\r\n\r\n")
    assert rest is body
    assert all(piece.obj is body for piece in pieces_of(rest))
