"""Streams whose answer does not say that it is one."""

import pytest

from tests.unit.client.exchanging import DONE, ROLE, WHOLE, WORD, Answer, Bench, Does, header, streams
from tests.unit.client.made_tables import Time, part, router

B = "b/r/x"


def bench(first: Does) -> Bench:
    """A pool that does this, and one that streams well; requests go to the first."""
    time = Time()
    return Bench(router(part({"a/r/x": 999_999, B: 1}), time), time, a=first, b=streams(ROLE, WORD, DONE))


@pytest.mark.parametrize("kind", [b"text/plain", b"application/octet-stream", b""])
def test_a_stream_without_its_type_is_read_as_one(kind: bytes) -> None:
    """The SDK reads what it asked for as a stream, so that is what it must be; a whole answer is judged as
    one."""
    headers = [(b"content-type", kind)] if kind else []

    def does(*pieces: bytes) -> Does:
        return lambda _open: Answer(200, headers, *pieces)

    reply = bench(does(ROLE, WORD, DONE)).ask(stream=True)
    assert reply.relay is not None
    failing = bench(does(ROLE, b'data: {"error":{"code":"boom"}}\n\n'))
    assert header(failing.ask(stream=True), "x-tieline-pool") == B
    assert bench(does(WHOLE)).ask(stream=True).body == WHOLE
    broken = bench(does(b"Bad gateway"))
    assert header(broken.ask(stream=True), "x-tieline-pool") == B
