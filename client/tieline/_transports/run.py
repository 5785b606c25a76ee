"""Runs exchanges: once awaiting, once blocking. Nothing is decided here."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from tieline._http.messages import Ask, StreamBrokenError, WireError
from tieline._process import clock as _clock
from tieline._request.attempt import Do, GetSecret, Open, Pause, Read
from tieline._request.exchange import Exchange, Tools
from tieline._request.relay import Relay
from tieline._request.reply import Reply
from tieline.credentials import Credentials, MissingCredentialError

if TYPE_CHECKING:
    from tieline._http.wire_async import AsyncWire
    from tieline._http.wire_sync import SyncWire

CONNECT_S = 5.0
DRAIN_MS = 100
SecretOf = Callable[[str, int], tuple[str, bool]]  # name, and by when (monotonic ms)
Told = Callable[[StreamBrokenError], Exception]


class AsyncRunner:
    """Exchanges of one event loop."""

    def __init__(self, tools: Tools, credentials: Credentials, wire: "AsyncWire") -> None:
        self._tools = tools
        self._credentials = credentials
        self._wire = wire

    async def send(self, ask: Ask) -> Reply:
        """One request. Raises nothing but cancellation, which leaves no connection behind."""
        exchange = Exchange(self._tools, ask).run()
        value: Any = None
        answer = None
        try:
            do = next(exchange)
            while True:
                try:
                    if type(do) is Read:
                        value = await do.answer.read()
                    else:
                        value = await self._do(do)
                        if type(do) is Open:
                            answer = value
                except Exception as error:  # noqa: BLE001  the exchange knows which of them are its own
                    do = exchange.throw(error)
                else:
                    do = exchange.send(value)
        except StopIteration as done:
            reply: Reply = done.value
            return reply
        except BaseException:
            exchange.close()
            if answer is not None:
                answer.close()
            raise

    async def _do(self, do: Do) -> Any:
        match do:
            case Open(method=method, url=url, headers=headers, body=body, flight=flight):
                return await self._wire.open(method, url, headers, body, flight=flight, connect_s=CONNECT_S)
            case GetSecret(name=name, due_ms=due_ms):
                return await secret_of(self._credentials, name, due_ms)
            case Pause(wait_ms=wait_ms):
                return await asyncio.sleep(wait_ms / 1_000)


async def secret_of(credentials: Credentials, name: str, due_ms: int) -> tuple[str, bool]:
    """Raises ``MissingCredentialError`` when there is none by then."""
    if (found := credentials.at_hand(name)) is not None:
        return found
    try:
        async with asyncio.timeout(max(0, due_ms - _clock.monotonic_ms()) / 1_000):
            return await credentials.get(name)
    except TimeoutError:
        raise MissingCredentialError(f"credential {name!r}: its function gave nothing in time") from None


async def follow(relay: Relay, told: Told) -> AsyncIterator[bytes]:
    """The body of a reply as it comes. Raises what ``told`` makes of a stream that breaks, stalls, or ends
    without its last event."""
    yield relay.held
    read = relay.answer.read
    try:
        while True:
            relay.waits()
            data = await read()
            if not data:
                break
            relay.take(data)
            yield data
        relay.over()
    except WireError as error:
        if (broken := relay.broken(error)) is not None:
            raise told(broken) from None
    except StreamBrokenError as error:
        raise told(error) from None


async def leave(relay: Relay) -> None:
    """Let go of the answer: its connection is kept if it is whole, which may take a moment to show."""
    try:
        if relay.complete:
            relay.waits(DRAIN_MS)
            while await relay.answer.read():
                pass
    except WireError:
        pass
    finally:
        relay.close()


class SyncRunner:
    """Exchanges in their callers' threads."""

    def __init__(self, tools: Tools, secret_of: SecretOf, wire: "SyncWire") -> None:
        self._tools = tools
        self._secret_of = secret_of
        self._wire = wire

    def send(self, ask: Ask) -> Reply:
        """As ``AsyncRunner.send``."""
        exchange = Exchange(self._tools, ask).run()
        value: Any = None
        answer = None
        try:
            do = next(exchange)
            while True:
                try:
                    if type(do) is Read:
                        value = do.answer.read()
                    else:
                        value = self._do(do)
                        if type(do) is Open:
                            answer = value
                except Exception as error:  # noqa: BLE001  the exchange knows which of them are its own
                    do = exchange.throw(error)
                else:
                    do = exchange.send(value)
        except StopIteration as done:
            reply: Reply = done.value
            return reply
        except BaseException:
            exchange.close()
            if answer is not None:
                answer.close()
            raise

    def _do(self, do: Do) -> Any:
        match do:
            case Open(method=method, url=url, headers=headers, body=body, flight=flight):
                return self._wire.open(method, url, headers, body, flight=flight, connect_s=CONNECT_S)
            case GetSecret(name=name, due_ms=due_ms):
                return self._secret_of(name, due_ms)
            case Pause(wait_ms=wait_ms):
                return time.sleep(wait_ms / 1_000)


def follow_sync(relay: Relay, told: Told) -> Iterator[bytes]:
    """As ``follow``."""
    yield relay.held
    read = relay.answer.read
    try:
        while True:
            relay.waits()
            data = read()
            if not data:
                break
            relay.take(data)
            yield data
        relay.over()
    except WireError as error:
        if (broken := relay.broken(error)) is not None:
            raise told(broken) from None
    except StreamBrokenError as error:
        raise told(error) from None


def leave_sync(relay: Relay) -> None:
    """As ``leave``."""
    try:
        if relay.complete:
            relay.waits(DRAIN_MS)
            while relay.answer.read():
                pass
    except WireError:
        pass
    finally:
        relay.close()
