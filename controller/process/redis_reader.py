"""Reads Redis for short commands: one connection, and nothing but questions.

To import the library ``redis`` takes a third of a second of a processor, most of it for commands, clusters
and telemetry that a reader has no use for; a short command should take half a second as a whole. So what only
reads for people speaks the protocol itself, with the parser that the library uses too (``hiredis``). Whatever
writes uses the library (``connections.connect_redis``).
"""

import asyncio
import os
import ssl
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
from msgspec import Struct, structs

from controller.process.certificates import certificate_fault
from controller.process.connections import FALSE, REDIS_TIMEOUT_S
from controller.process.errors import UserError
from controller.process.telemetry import without_password
from tieline.keys import Keys
from tieline.redis_address import parse_redis
from tieline.redis_primary import Question, find_primary

READ_BYTES = 256 * 1024
PORT = 6379
REDIS = "TIELINE_REDIS"
MOVED = "the keys lie on another node of the cluster now"


class RedisUnreadError(UserError):
    """Redis can't be read. ``why`` says only what went wrong; the message has the remedy as well."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"Redis can't be read ({why}): {remedy}")
        self.why = why


class RedisPlace(Struct, frozen=True):
    """Where a URL leads. ``path``: of a Unix socket, in the place of host and port."""

    host: str
    port: int
    path: str = ""
    database: int = 0
    user: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"RedisPlace({self})"  # without the password

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def place_of_redis(url: str) -> RedisPlace:
    """The place that redis://, rediss:// or unix:// names, as the library ``redis`` reads such a URL.

    Options of the library that change neither the place nor TLS nor the password are passed over. Raises
    ValueError, and OSError for a file of TLS that can't be read.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    is_socket = parts.scheme == "unix"
    number = options.get("db") or ("" if is_socket else parts.path.strip("/"))
    return RedisPlace(
        unquote(parts.hostname or "localhost"),
        parts.port or PORT,
        path=unquote(parts.path) if is_socket else "",
        database=int(number) if number.isdecimal() else 0,
        user=unquote(parts.username or "") or options.get("username", ""),
        password=unquote(parts.password or "") or options.get("password", ""),
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


class RedisReader:
    """``async with RedisReader(url, keys) as redis: [value] = await redis.ask(("GET", "key"))``.

    It connects at the first question, and anew where the connection was lost.
    """

    def __init__(self, url: str, keys: Keys) -> None:
        self._address = parse_redis(url)
        self._keys = keys
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._parser = hiredis.Reader()

    async def __aenter__(self) -> "RedisReader":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()
        await asyncio.sleep(0)  # the loop closes the socket in its next turn

    async def ask(self, *questions: Question) -> list[Any]:
        """The replies to all questions, in their order, in one round trip: bytes, numbers, None, or lists.

        Raises ``RedisUnreadError`` within ``REDIS_TIMEOUT_S``, also for a reply that is an error.
        """
        is_kept = self._streams is not None
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                try:
                    return await self._replies(questions)
                except OSError:
                    if not is_kept:
                        raise
                return await self._replies(questions)  # the server closed what was kept open: connect anew
        except TimeoutError:
            raise _unread(f"no answer within {REDIS_TIMEOUT_S:g} s") from None
        except hiredis.HiredisError as error:
            raise _refused(str(error)) from None
        except (OSError, ValueError) as error:
            if (fault := certificate_fault(error, REDIS)) is not None:
                raise RedisUnreadError(fault.why, fault.remedy) from None
            raise _unread(self._words(error)) from None

    async def _replies(self, questions: Sequence[Question]) -> list[Any]:
        is_whole = False
        try:
            if self._streams is None:
                self._streams = await self._connect()
            replies = await self._exchange(questions)
            is_whole = True
        finally:
            if not is_whole:
                self._drop()  # what is still on its way would be taken for the next reply
        return replies

    async def _exchange(self, questions: Sequence[Question]) -> list[Any]:
        """Sends the questions and takes as many replies. Raises OSError or HiredisError."""
        assert self._streams is not None
        reader, writer = self._streams
        writer.write(b"".join(hiredis.pack_command(cast(Any, question)) for question in questions))
        replies: list[Any] = []
        while True:
            while len(replies) < len(questions) and (reply := self._parser.gets()) is not False:
                if isinstance(reply, hiredis.HiredisError):
                    raise ConnectionResetError(MOVED) if str(reply).startswith("MOVED ") else reply
                replies.append(reply)
            if len(replies) == len(questions):
                return replies
            data = await reader.read(READ_BYTES)
            if not data:
                raise ConnectionResetError("it closed the connection")
            self._parser.feed(data)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = place_of_redis(self._address.url)
        if self._address.nodes:
            host, port = await find_primary(self._address, self._keys, self._ask_node)
            place = structs.replace(place, host=host, port=port)
        if place.path:
            self._streams = await asyncio.open_unix_connection(place.path)
        else:
            self._streams = await asyncio.open_connection(place.host, place.port, ssl=place.tls)
        self._parser = hiredis.Reader()
        greeting: list[Question] = []
        if place.password:
            greeting.append(("AUTH", *filter(None, (place.user,)), place.password))
        if place.database:
            greeting.append(("SELECT", str(place.database)))
        await self._exchange(greeting)
        return self._streams

    async def _ask_node(self, url: str, questions: Sequence[Question]) -> list[Any]:
        try:
            async with RedisReader(url, self._keys) as node:
                return await node.ask(*questions)
        except RedisUnreadError as error:
            raise OSError(error.why) from None

    def _words(self, error: OSError | ValueError) -> str:
        words = without_password(str(error)) or type(error).__name__
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return words
        if error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
            words = os.strerror(error.errno)  # asyncio's own words repeat the address
        return words if self._address.nodes else f"{place_of_redis(self._address.url)}: {words}"

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    """Checks the server's certificate and name unless the URL says otherwise."""
    context = ssl.create_default_context()
    if options.get("ssl_check_hostname", "true").lower() in FALSE:
        context.check_hostname = False
    if (needs := options.get("ssl_cert_reqs", "required").lower()) != "required":
        context.check_hostname = False
        context.verify_mode = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL}[needs]
    if authorities := options.get("ssl_ca_certs"):
        context.load_verify_locations(authorities)
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password"))
    return context


def _unread(why: str) -> RedisUnreadError:
    return RedisUnreadError(why, f"start it, or correct --redis or {REDIS}")


def _refused(why: str) -> RedisUnreadError:
    code = why.partition(" ")[0]
    if code in ("WRONGPASS", "NOAUTH"):
        return RedisUnreadError("it refused the password", f"correct it in {REDIS}")
    return RedisUnreadError(without_password(why), "correct what it says there")
