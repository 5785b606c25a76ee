"""Runs exchanges: once awaiting, once blocking. Nothing is decided here.

An exchange yields an effect and is sent what came of it. Its errors are thrown into it: it knows which of
them are its own (a failed connection, a missing secret) and lets the others through. If the caller goes away
(cancellation, an interrupt) the exchange is closed, and with it the answer that was on its way.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tieline._http.messages import Headers, HttpRequest, WireError
from tieline._process import clock as _clock
from tieline._request.attempt import Effect, FindHolders, GetSecret, Open, Pause, Read, Sign
from tieline._request.exchange import Exchange
from tieline._request.reply import Reply
from tieline._request.timed_attempt import Tools
from tieline.credentials import Credentials, MissingCredentialError, SecretInUse

if TYPE_CHECKING:
    from tieline._http.wire_async import AsyncWire
    from tieline._http.wire_sync import SyncWire

CONNECT_S = 5.0
FindIn = Callable[[tuple[str, ...]], dict[str, str]]  # ids -> those that other processes know
SecretOf = Callable[[str, int], SecretInUse]  # name, and by when (monotonic ms)


class AsyncRunner:
    """Exchanges of one event loop."""

    def __init__(self, tools: Tools, credentials: Credentials, wire: "AsyncWire") -> None:
        self._tools = tools
        self._credentials = credentials
        self._wire = wire

    async def send(self, request: HttpRequest) -> Reply:
        """One request. Raises nothing but cancellation, which leaves no connection behind."""
        exchange = Exchange(self._tools, request).run()
        value: Any = None
        answer = None
        try:
            effect = next(exchange)
            while True:
                try:
                    if type(effect) is Read:
                        value = await effect.answer.read()
                    elif type(effect) is Open:
                        value = answer = await self._wire.open(
                            effect.method,
                            effect.url,
                            effect.headers,
                            effect.body,
                            flight=effect.flight,
                            connect_s=CONNECT_S,
                        )
                    else:
                        value = await self._do(effect)
                except Exception as error:  # noqa: BLE001  the exchange knows which of them are its own
                    effect = exchange.throw(error)
                else:
                    effect = exchange.send(value)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        except BaseException:
            exchange.close()
            if answer is not None:
                answer.close()
            raise

    async def _do(self, effect: Effect) -> Any:
        match effect:
            case GetSecret(name=name, due_ms=due_ms):
                return await secret_of(self._credentials, name, due_ms)
            case FindHolders(ids=ids):
                shared = self._tools.shared
                return await shared.look_up(ids) if shared is not None else {}
            case Sign():
                return await _signed_in_time(effect)
            case Pause(wait_ms=wait_ms):
                return await asyncio.sleep(wait_ms / 1_000)


async def secret_of(credentials: Credentials, name: str, due_ms: int) -> SecretInUse:
    """(secret or signer, whether it is a token). Raises ``MissingCredentialError`` when there is none by
    then."""
    if (secret := credentials.at_hand(name)) is not None:
        return secret
    try:
        async with asyncio.timeout(max(0, due_ms - _clock.monotonic_ms()) / 1_000):
            return await credentials.get(name)
    except TimeoutError:
        raise MissingCredentialError(f"credential {name!r}: its function gave nothing in time") from None


def signed(sign: Sign) -> Headers:
    """The headers that a signer adds. Raises ``MissingCredentialError`` for whatever a signer raises, whose
    text may repeat a secret, its type can't; ``WireError`` for a body that can't be read."""
    try:
        return sign.signer.sign(sign.request)
    except (MissingCredentialError, WireError):
        raise
    except Exception as error:  # noqa: BLE001  an application's own signer
        reason = type(error).__name__
        raise MissingCredentialError(f"credential {sign.name!r}: its signer raised {reason}") from None


async def _signed_in_time(sign: Sign) -> Headers:
    """In a thread: a key, a large body or a signer that asks for a token takes a while."""
    try:
        async with asyncio.timeout(max(0, sign.due_ms - _clock.monotonic_ms()) / 1_000):
            return await asyncio.to_thread(signed, sign)
    except TimeoutError:
        raise MissingCredentialError(f"credential {sign.name!r}: its signer gave nothing in time") from None


class SyncRunner:
    """Exchanges in their callers' threads. ``secret_of`` and ``find_holders`` wait for what only the event
    loop can do."""

    def __init__(self, tools: Tools, secret_of: SecretOf, find_holders: FindIn, wire: "SyncWire") -> None:
        self._tools = tools
        self._secret_of = secret_of
        self._find_holders = find_holders
        self._wire = wire

    def send(self, request: HttpRequest) -> Reply:
        """As ``AsyncRunner.send``."""
        exchange = Exchange(self._tools, request).run()
        value: Any = None
        answer = None
        try:
            effect = next(exchange)
            while True:
                try:
                    if type(effect) is Read:
                        value = effect.answer.read()
                    elif type(effect) is Open:
                        value = answer = self._wire.open(
                            effect.method,
                            effect.url,
                            effect.headers,
                            effect.body,
                            flight=effect.flight,
                            connect_s=CONNECT_S,
                        )
                    else:
                        value = self._do(effect)
                except Exception as error:  # noqa: BLE001  the exchange knows which of them are its own
                    effect = exchange.throw(error)
                else:
                    effect = exchange.send(value)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        except BaseException:
            exchange.close()
            if answer is not None:
                answer.close()
            raise

    def _do(self, effect: Effect) -> Any:
        match effect:
            case GetSecret(name=name, due_ms=due_ms):
                return self._secret_of(name, due_ms)
            case FindHolders(ids=ids):
                return self._find_holders(ids)
            case Sign():
                return signed(effect)
            case Pause(wait_ms=wait_ms):
                return time.sleep(wait_ms / 1_000)
