"""What a gateway needs of the client library: requests as they were received, and replies without any HTTP
library."""

import pytest

import tieline
from tieline._http.messages import request_headers
from tieline.forwarding import (
    Forwarder,
    Headers,
    ReplyBody,
    StreamBrokenError,
    Upload,
    received,
    usage_of,
)
from tieline.testing import FakePools

HEADERS: Headers = [
    (b"Content-Type", b"application/json"),
    (b"X-Tieline-Session", b"conv-42"),
    (b"x-tieline-origin", b"us"),
    (b"X-Request-Id", b"r-1"),
]


def upload_of(*pieces: bytes) -> Upload:
    upload = Upload(HEADERS)
    for piece in pieces:
        upload.add(piece)
    return upload


def test_a_request_keeps_what_its_caller_asked_for() -> None:
    """Its options, but for the origin where the gateway decides that."""
    request = received("POST", "/chat/completions", HEADERS, upload_of(b"{}"), origin="eu")
    assert request.named == {
        "x-tieline-session": "conv-42",
        "x-tieline-origin": "eu",
        "x-request-id": "r-1",
    }
    own = received("POST", "/chat/completions", HEADERS, upload_of(b"{}"))
    assert own.named["x-tieline-origin"] == "us"


@pytest.mark.parametrize(
    "name", [b"Authorization", b"api-key", b"X-Api-Key", b"x-goog-api-key", b"Cookie", b"X-Tieline-Session"]
)
def test_what_is_the_gateways_own_reaches_no_provider(name: bytes) -> None:
    """Neither a secret, wherever an SDK puts it, nor an option."""
    headers: Headers = [*HEADERS, (name, b"secret")]
    request = received("POST", "/chat/completions", headers, upload_of(b"{}"))
    sent = request_headers(request, "r-1", None, stream=False)
    assert all(value != b"secret" for _, value in sent)
    assert (b"Content-Type", b"application/json") in sent


POOL, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
ASK = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
ASK_STREAM = ASK[:-1] + b', "stream": true}'


async def test_a_whole_reply_names_what_it_used() -> None:
    """And where it came from."""
    async with tieline.AsyncClient(FakePools({POOL: 1}, model="m"), workload="chat", origin="eu") as client:
        assert await client.ready()
        reply = await Forwarder(client).send(received("POST", "/chat/completions", [], upload_of(ASK)))
    assert reply.status == 200
    assert b"from azure" in reply.body
    assert (b"x-tieline-pool", POOL.encode()) in reply.headers
    assert usage_of(reply) is not None


async def test_a_stream_is_read_as_it_comes() -> None:
    """Its usage is there once it has been named."""
    async with tieline.AsyncClient(FakePools({POOL: 1}, model="m"), workload="chat", origin="eu") as client:
        assert await client.ready()
        reply = await Forwarder(client).send(received("POST", "/chat/completions", [], upload_of(ASK_STREAM)))
        assert reply.relay is not None
        body = ReplyBody(reply.relay)
        text = b"".join([piece async for piece in body])
        await body.aclose()
    assert text.endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_breaks_says_so() -> None:
    """Whatever HTTP library the caller has."""
    fake = FakePools({POOL: 1}, model="m")
    fake.fault(POOL, "cut", after_chunks=2)
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as client:
        assert await client.ready()
        reply = await Forwarder(client).send(received("POST", "/chat/completions", [], upload_of(ASK_STREAM)))
        assert reply.relay is not None
        body = ReplyBody(reply.relay)
        with pytest.raises(StreamBrokenError):
            [piece async for piece in body]
        await body.aclose()


async def test_what_the_table_says_of_an_origin() -> None:
    """The models that requests may name, and the share that is shed; nothing of an origin it does not
    have."""
    fake = FakePools({POOL: 1, OTHER: 1}, model="m", shed=0.25)
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as client:
        forwarder = Forwarder(client)
        assert (forwarder.models("eu"), forwarder.shed_share("eu")) == ({}, 0.0)
        assert await client.ready()
        assert list(forwarder.models("eu")) == ["m"]
        assert forwarder.shed_share("eu") == pytest.approx(0.25)
        assert (forwarder.models("us"), forwarder.shed_share("us")) == ({}, 0.0)


@pytest.mark.parametrize(("is_shed", "statuses"), [(False, {200}), (True, {429}), (None, {200, 429})])
async def test_who_forwards_may_say_whom_the_table_sheds(is_shed: bool | None, statuses: set[int]) -> None:
    """Else the table's own sequence does, request by request."""
    fake = FakePools({POOL: 1}, model="m", shed=0.5)
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as client:
        assert await client.ready()
        forwarder = Forwarder(client)
        replies = [
            await forwarder.send(received("POST", "/chat/completions", [], upload_of(ASK), is_shed=is_shed))
            for _ in range(12)
        ]
    assert {reply.status for reply in replies} == statuses


async def test_processes_divide_what_retries_are_allowed() -> None:
    """So that ten workers of a gateway do not multiply the load on what is left."""
    fake = FakePools({POOL: 1}, model="m")
    clients = [tieline.AsyncClient(fake, workload="chat", origin="eu") for _ in range(2)]
    for client, processes in zip(clients, (1, 10), strict=True):
        Forwarder(client, processes=processes)
    alone, together = (client.core.budget.left(0) for client in clients)
    assert together == pytest.approx(alone / 10)


async def test_the_load_of_a_reply_is_there_at_its_end() -> None:
    """What the planner counts, and a gateway's limits; a failure is none."""
    fake = FakePools({POOL: 1}, model="m")
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as client:
        assert await client.ready()
        forwarder = Forwarder(client)
        whole = await forwarder.send(received("POST", "/chat/completions", [], upload_of(ASK)))
        stream = await forwarder.send(received("POST", "/chat/completions", [], upload_of(ASK_STREAM)))
        assert stream.relay is not None
        body = ReplyBody(stream.relay)
        assert stream.units == 0
        async for _ in body:
            pass
        await body.aclose()
        fake.fault(POOL, status=400)
        failure = await forwarder.send(received("POST", "/chat/completions", [], upload_of(ASK)))
    assert whole.units > 0
    assert stream.units > 0
    assert failure.units == 0
