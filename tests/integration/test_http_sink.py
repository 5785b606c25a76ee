"""Reports through a controller's endpoint that is slow, refuses, or is away: bounded, counted, never waited
for."""

from aiohttp import web

from tests.integration.recording import Asked, recording
from tieline._http.endpoint import Endpoint
from tieline._process import clock as _clock
from tieline._reports.http_sink import OUTBOX_REPORTS_MAX, HttpSink
from tieline.cloudevents import decode_body
from tieline.events import Demand


def report(sequence: int, *, age_ms: int = 0) -> Demand:
    """A client's report of the last second."""
    end_ms = _clock.now_ms() - age_ms
    return Demand("shop-1", "abc", sequence, end_ms - 1_000, end_ms, 1_000)


async def test_a_report_is_sent_again_while_it_is_worth_something() -> None:
    """Refused for want of room: sent again, in order, each once."""
    refusals = 2

    async def answer(_asked: Asked) -> web.Response:
        nonlocal refusals
        refusals -= 1
        return web.Response(status=503 if refusals >= 0 else 202)

    async with recording(answer) as server:
        sink = HttpSink(Endpoint(server.url, "token-of-this-client"))
        await sink.start()
        for sequence in (1, 2):
            sink.post(report(sequence))
        assert await sink.drain(60)
        await sink.stop()
    taken = [decode_body(Demand, one.body, one.headers["content-type"]) for one in server.asked[2:]]
    assert [one.sequence for one in taken if isinstance(one, Demand)] == [1, 2]
    assert {one.headers["authorization"] for one in server.asked} == {"Bearer token-of-this-client"}
    assert sink.dropped == 0


async def test_what_can_not_be_sent_is_dropped_and_counted() -> None:
    """What the endpoint will never take, and what is too old to be worth anything, is not sent again."""

    async def answer(_asked: Asked) -> web.Response:
        return web.Response(status=400)

    async with recording(answer) as server:
        sink = HttpSink(Endpoint(server.url, None))
        await sink.start()
        sink.post(report(1))
        sink.post(report(2, age_ms=60_000))
        assert await sink.drain(60)
        await sink.stop()
        assert len(server.asked) == 1
    assert sink.dropped == 2


async def test_an_endpoint_that_is_away_costs_a_bounded_buffer() -> None:
    """The oldest makes way; whoever reports never waits; at the end what is left is counted as dropped."""
    sink = HttpSink(Endpoint("http://127.0.0.1:1", None))
    await sink.start()
    for sequence in range(OUTBOX_REPORTS_MAX + 30):
        sink.post(report(sequence))
    assert sink.dropped == 30
    assert not await sink.drain(0.05)
    await sink.stop()
    assert sink.dropped == OUTBOX_REPORTS_MAX + 30
