"""The reader of Redis, against a server of a few lines that sends what a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import hiredis
import pytest

from controller.process import redis_reader
from controller.process.redis_reader import RedisReader, RedisUnreadError, place_of_redis
from tests.waiting import until
from tieline.keys import Keys


class Server:
    """Answers each question with the next of ``replies``; an empty one closes the connection instead."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        self.asked: list[list[bytes]] = []
        self.serving: list[asyncio.Task[None]] = []
        self._replies = list(replies)

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self.serving)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(65_536):
                parser.feed(data)
                while (question := parser.gets()) is not False:
                    self.asked.append(question)
                    if not await self._answered(writer):
                        return
        writer.close()

    async def _answered(self, writer: asyncio.StreamWriter) -> bool:
        reply = self._replies.pop(0)
        for part in (reply[:3], reply[3:]):  # as a network may cut it
            writer.write(part)
            await writer.drain()
        if not reply:
            writer.close()
        return bool(reply)


@asynccontextmanager
async def serving(*replies: bytes) -> AsyncIterator[tuple[Server, int]]:
    """The server and its port. At the end every connection has been closed by its client."""
    server = Server(replies)
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    async with listening:
        yield server, listening.sockets[0].getsockname()[1]
    await asyncio.gather(*server.serving)


async def test_questions_are_asked_in_one_round_trip_after_password_and_database() -> None:
    """Replies come in the order of the questions, whole, however the network cuts them."""
    replies = (b"+OK\r\n", b"+OK\r\n", b"$3\r\nabc\r\n", b"*2\r\n$1\r\na\r\n$2\r\nbc\r\n", b"$-1\r\n")
    async with (
        serving(*replies) as (server, port),
        RedisReader(f"redis://kim:se@127.0.0.1:{port}/2", Keys()) as redis,
    ):
        assert await redis.ask(("GET", "x"), ("HGETALL", "y"), ("GET", "z")) == [b"abc", [b"a", b"bc"], None]
    assert server.asked[:2] == [[b"AUTH", b"kim", b"se"], [b"SELECT", b"2"]]
    assert server.asked[2:] == [[b"GET", b"x"], [b"HGETALL", b"y"], [b"GET", b"z"]]


async def test_a_kept_connection_that_was_closed_is_made_anew() -> None:
    """A server may close what is idle; only a new connection that fails as well is an error."""
    async with serving(b"$1\r\na\r\n", b"", b"$1\r\nb\r\n", b"", b"") as (server, port):
        async with RedisReader(f"redis://127.0.0.1:{port}", Keys()) as redis:
            assert await redis.ask(("GET", "x")) == [b"a"]
            assert await redis.ask(("GET", "x")) == [b"b"]
            with pytest.raises(RedisUnreadError, match="it closed the connection"):
                await redis.ask(("GET", "x"))
        assert server.connections == 3


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", "it refused the password"),
        (b"-NOAUTH Authentication required.\r\n", "it refused the password"),
        (b"-NOPERM this user has no permissions\r\n", "NOPERM this user has no permissions"),
        (b"-LOADING the dataset is being loaded\r\n", "LOADING the dataset is being loaded"),
        (b"!nonsense\r\n", "Protocol error"),
    ],
)
async def test_an_error_as_reply_says_what_is_wrong_and_ends_the_connection(reply: bytes, why: str) -> None:
    """What follows on that connection would be taken for the answer to another question."""
    async with serving(reply, b"$1\r\nb\r\n") as (server, port):
        async with RedisReader(f"redis://127.0.0.1:{port}", Keys()) as redis:
            with pytest.raises(RedisUnreadError) as raised:
                await redis.ask(("GET", "x"))
            assert raised.value.why.startswith(why)
            assert await redis.ask(("GET", "x")) == [b"b"]
        assert server.connections == 2


async def test_a_question_that_was_given_up_leaves_no_reply_to_the_next_one() -> None:
    """Whoever is cancelled half-way leaves a connection on which a reply may still come."""
    replies = (b"$1\r\na", b"$1\r\nb\r\n")
    async with serving(*replies) as (server, port), RedisReader(f"redis://127.0.0.1:{port}", Keys()) as redis:
        asking = asyncio.create_task(redis.ask(("GET", "x")))
        await until(lambda: server.asked)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await redis.ask(("GET", "y")) == [b"b"]


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    """With the place, what is wrong there, and the remedy."""
    async with serving() as (_, port):
        pass
    async with RedisReader(f"redis://:hidden@127.0.0.1:{port}", Keys()) as redis:
        with pytest.raises(RedisUnreadError) as raised:
            await redis.ask(("GET", "x"))
    assert raised.value.why == f"127.0.0.1:{port}: Connection refused"
    assert str(raised.value).endswith("start it, or correct --redis or TIELINE_REDIS")


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time in which every client here gives Redis up."""
    monkeypatch.setattr(redis_reader, "REDIS_TIMEOUT_S", 0.05)
    async with serving(b"$1\r\n") as (_, port), RedisReader(f"redis://127.0.0.1:{port}", Keys()) as redis:
        with pytest.raises(RedisUnreadError, match="no answer within"):
            await redis.ask(("GET", "x"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", ("localhost", 6379, "", 0, "", "")),
        ("redis://h:1/3", ("h", 1, "", 3, "", "")),
        ("redis://h/3?db=4&socket_timeout=1", ("h", 6379, "", 4, "", "")),
        ("redis://kim:a%2Fb%40@[::1]:7/0", ("::1", 7, "", 0, "kim", "a/b@")),
        ("redis://h?username=kim&password=b", ("h", 6379, "", 0, "kim", "b")),
        ("unix://:pw@/run/redis.sock?db=2", ("localhost", 6379, "/run/redis.sock", 2, "", "pw")),
    ],
)
def test_a_url_is_read_as_the_library_reads_it(url: str, expected: tuple[object, ...]) -> None:
    """So that one setting leads every part of Tieline to the same place."""
    place = place_of_redis(url)
    parts = (place.host, place.port, place.path, place.database, place.user, place.password)
    assert (*parts, place.tls) == (*expected, None)


@pytest.mark.parametrize(
    ("options", "checks_name", "mode"),
    [
        ("", True, ssl.CERT_REQUIRED),
        ("?ssl_check_hostname=false", False, ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=none", False, ssl.CERT_NONE),
    ],
)
def test_tls_checks_certificate_and_name_unless_the_url_says_otherwise(
    options: str, checks_name: bool, mode: ssl.VerifyMode
) -> None:
    """As the library does."""
    tls = place_of_redis(f"rediss://h{options}").tls
    assert tls is not None
    assert (tls.check_hostname, tls.verify_mode) == (checks_name, mode)
