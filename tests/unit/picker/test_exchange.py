"""One request's messages: when a pool is picked, what Envoy is told, and what becomes of the answer."""

from __future__ import annotations

import json

import pytest

from tests.unit.picker.desks import (
    MODEL,
    PLACES,
    A,
    B,
    answer,
    answers,
    bench,
    endpoint,
    named,
    picker_file,
    request_body,
    request_headers,
    response_headers,
    set_headers,
)
from tieline.events import Outcomes
from tieline.table import ClientSettings

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "model": MODEL}).encode()
BUFFERED, DUPLEX = 2, 4
ONLY_A = {A: 1.0}


async def test_a_request_that_names_its_model_is_picked_for_at_once() -> None:
    """The destination stands in the header and, alike, in the metadata; the route is computed anew."""
    async with bench(weights=ONLY_A) as at:
        message = answer(at.exchange(), named())
        assert endpoint(message) == "10.0.0.1:80"
        assert message.request_headers.response.clear_route_cache
        assert set_headers(message.request_headers.response.header_mutation)["x-tieline-pool"] == A
        assert at.notes == ["weighted"]


async def test_without_a_body_to_read_it_is_picked_for_at_once() -> None:
    """A GET, or a mode without bodies, has nothing to wait for."""
    async with bench(weights=ONLY_A) as at:
        assert endpoint(answer(at.exchange(), request_headers(mode=BUFFERED, ends=True)))
        assert endpoint(answer(at.exchange(), request_headers()))


async def test_a_body_that_comes_whole_names_the_model() -> None:
    """Envoy goes on with the headers; the answer to the body has the destination, the pool's own name for the
    model, and its length. All else of the body stays as it was."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        first = answer(exchange, request_headers(mode=BUFFERED))
        assert not first.request_headers.response.header_mutation.set_headers
        message = answer(exchange, request_body(BODY))
        assert endpoint(message, "request_body") == "10.0.0.1:80"
        sent = message.request_body.response.body_mutation.body
        assert json.loads(sent) == {**json.loads(BODY), "model": "a"}
        headers = set_headers(message.request_body.response.header_mutation)
        assert headers["content-length"] == str(len(sent))


async def test_a_body_under_the_right_name_is_not_replaced() -> None:
    """Nothing is sent back that Envoy has already."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answer(exchange, request_headers(mode=BUFFERED))
        message = answer(exchange, request_body(b"no JSON"))
        assert endpoint(message, "request_body")
        assert not message.request_body.response.HasField("body_mutation")


async def test_a_body_in_pieces_is_held_until_it_is_whole() -> None:
    """As gateways of the Inference Extension send it: first the headers are answered, then the body comes
    back in pieces that end where it ends."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        assert answers(exchange, request_headers(mode=DUPLEX)) == []
        assert answers(exchange, request_body(BODY[:20], ends=False)) == []
        first, *pieces = answers(exchange, request_body(BODY[20:]))
        assert endpoint(first) == "10.0.0.1:80"
        streams = [piece.request_body.response.body_mutation.streamed_response for piece in pieces]
        assert json.loads(b"".join(stream.body for stream in streams))["model"] == "a"
        assert [stream.end_of_stream for stream in streams] == [False] * (len(streams) - 1) + [True]


async def test_large_bodies_come_back_in_pieces() -> None:
    """Each piece has at most 64 KiB, and only the last one ends the body."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answers(exchange, request_headers(mode=DUPLEX))
        _, *pieces = answers(exchange, request_body(b"x" * 150_000))
        streams = [piece.request_body.response.body_mutation.streamed_response for piece in pieces]
        assert [len(stream.body) for stream in streams] == [65_536, 65_536, 18_928]
        assert [stream.end_of_stream for stream in streams] == [False, False, True]


async def test_trailers_end_a_body_in_pieces() -> None:
    """With trailers no piece ends the body: the trailers do."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answers(exchange, request_headers(mode=DUPLEX))
        answers(exchange, request_body(BODY, ends=False))
        message = request_body(b"")
        message.request_trailers.SetInParent()
        first, piece, last = answers(exchange, message)
        assert endpoint(first)
        assert not piece.request_body.response.body_mutation.streamed_response.end_of_stream
        assert last.HasField("request_trailers")


async def test_a_body_that_is_too_large_is_refused() -> None:
    """No more is kept in memory than the file allows."""
    async with bench(picker_file(body_max_bytes=1_024), ONLY_A) as at:
        exchange = at.exchange()
        answers(exchange, request_headers(mode=DUPLEX))
        message = answer(exchange, request_body(b"x" * 2_000, ends=False))
        assert message.immediate_response.status.code == 413
        assert exchange.is_refused


async def test_a_callers_own_destination_does_not_count() -> None:
    """With destination pool no endpoint is said, and one that the caller sent is removed."""
    async with bench(picker_file(destination="pool", endpoints={}), ONLY_A) as at:
        sent = {"x-gateway-destination-endpoint": "10.9.9.9:1", "x-tieline-pool": B}
        mutation = answer(at.exchange(), request_headers(sent)).request_headers.response.header_mutation
        assert list(mutation.remove_headers) == ["x-gateway-destination-endpoint"]
        assert set_headers(mutation)["x-tieline-pool"] == A


async def test_what_the_table_sheds_is_answered_by_the_picker() -> None:
    """429, an error in OpenAI's shape, and the reason; nothing is sent to a pool."""
    async with bench(weights=ONLY_A, shed=0.99) as at:
        shed = [
            message.immediate_response
            for _ in range(10)
            if (message := answer(at.exchange(), named())).HasField("immediate_response")
        ]
        assert len(shed) >= 9
        assert {message.status.code for message in shed} == {429}
        assert json.loads(shed[0].body)["error"]["code"] == "shed"
        headers = set_headers(shed[0].headers)
        assert headers["x-tieline-reason"] == "shed"
        assert headers["x-should-retry"] == "false"


async def test_a_subset_of_the_proxy_is_kept_to() -> None:
    """Where the proxy allows some addresses only, no other is named; where it allows none, 503."""
    async with bench() as at:
        for _ in range(4):
            message = answer(at.exchange(), request_headers(subset=PLACES[B]))
            assert endpoint(message) == "10.0.0.2:80"
        refused = answer(at.exchange(), request_headers(subset=[]))
        assert refused.immediate_response.status.code == 503


async def test_the_answer_names_the_pool_that_gave_it() -> None:
    """Also where Envoy has tried another one after the first."""
    async with bench() as at:
        exchange = at.exchange()
        first, second = endpoint(answer(exchange, named())).split(",")
        pools = {PLACES[A][0]: A, PLACES[B][0]: B}
        message = answer(exchange, response_headers(200, served=second))
        headers = set_headers(message.response_headers.response.header_mutation)
        assert headers["x-tieline-pool"] == pools[second]
        exchange.end()
        report = await at.report()
        outcomes = {row.pool: (row.outcomes.ok, row.outcomes.connect) for row in report.pools}
        assert outcomes == {pools[first]: (0, 1), pools[second]: (1, 0)}


@pytest.mark.parametrize(
    ("status", "by_envoy", "result"),
    [
        (200, False, "ok"),
        (429, False, "throttled"),
        (500, False, "server_error"),
        (503, False, "server_error"),
        (503, True, "connect"),
        (504, True, "timeout"),
        (400, False, "client_error"),
        (401, False, "auth"),
    ],
)
async def test_outcomes_are_reported_by_status(status: int, by_envoy: bool, result: str) -> None:
    """As the client library counts them; what no pool answered is a failed connection, or a time-out."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answer(exchange, named())
        at.now_ms += 250
        answer(exchange, response_headers(status, by_envoy=by_envoy))
        exchange.end()
        report = await at.report()
        (row,) = report.pools
        assert getattr(row.outcomes, result) == 1
        assert row.in_flight == 0


async def test_the_load_is_an_estimate_by_length() -> None:
    """A unit for four characters of the request, and the file's figure for the answer; offered when it comes,
    served when it is answered."""
    async with bench(picker_file(output_units=100.0), ONLY_A) as at:
        exchange = at.exchange()
        answer(exchange, request_headers({"x-gateway-model-name": MODEL, "content-length": "400"}))
        answer(exchange, response_headers(200))
        report = await at.report()
        (flow,), (row,) = report.flows, report.pools
        assert (flow.requests, flow.offered_units, row.units) == (1, 200.0, 200.0)


async def test_the_time_to_the_headers_is_that_of_the_first_token() -> None:
    """Of a stream of events; of any other answer it is the whole time."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answer(exchange, named())
        at.now_ms += 250
        answer(exchange, response_headers(200, content_type="text/event-stream"))
        (row,) = (await at.report()).pools
        assert row.first_token_p50_ms == 250.0


async def test_a_caller_who_leaves_soon_says_nothing() -> None:
    """Neither does a stream that ends because the picker stops, however long it was open."""
    async with bench(weights=ONLY_A, settings=ClientSettings(first_token_timeout_ms=1_000)) as at:
        early, drained = at.exchange(), at.exchange()
        answer(early, named())
        answer(drained, named())
        at.now_ms += 500
        early.end()
        at.now_ms += 5_000
        drained.end(drained=True)
        report = await at.report()
        assert all(row.outcomes == Outcomes() and not row.in_flight for row in report.pools)


async def test_a_caller_who_waited_for_long_says_that_the_pool_is_silent() -> None:
    """Longer than the table allows to the first token."""
    async with bench(weights=ONLY_A, settings=ClientSettings(first_token_timeout_ms=1_000)) as at:
        exchange = at.exchange()
        answer(exchange, named())
        at.now_ms += 5_000
        exchange.end()
        (row,) = (await at.report()).pools
        assert row.outcomes.timeout == 1


async def test_pieces_of_an_answer_are_handed_on() -> None:
    """Byte for byte, with the end where it was."""
    async with bench(weights=ONLY_A) as at:
        exchange = at.exchange()
        answers(exchange, request_headers({"x-gateway-model-name": MODEL}, mode=DUPLEX, response_mode=DUPLEX))
        answer(exchange, response_headers(200))
        message = request_body(b"")
        message.response_body.body, message.response_body.end_of_stream = b"data: 1\n\n", True
        stream = answer(exchange, message).response_body.response.body_mutation.streamed_response
        assert (stream.body, stream.end_of_stream) == (b"data: 1\n\n", True)
