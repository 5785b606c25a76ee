"""Secrets by the name that the table gives: from the application's mapping, else from the environment.

A secret is asked for when a request needs it and sent to that pool's URL only. It is never logged and shows
in no repr. Tokens that expire are fetched anew before they do, beside the requests, by one call at a time.
"""

import asyncio
import inspect
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from tieline.errors import ConfigurationError

PREFIX = "TIELINE_CREDENTIAL_"
TOKEN_DEFAULT_MS = 60_000
RENEW_BEFORE_MAX_MS = 240_000
LAST_USE_BEFORE_MAX_MS = 10_000
AGAIN_AFTER_MS = 5_000
FETCH_TIMEOUT_S = 30.0
_log = logging.getLogger("tieline")


class Token(Struct, frozen=True):
    """A secret that expires ``expires_in_ms`` after it was given out; ``value`` is in no repr."""

    value: str
    expires_in_ms: int = TOKEN_DEFAULT_MS

    def __repr__(self) -> str:
        return "Token(...)"


Given: TypeAlias = str | Token
Credential: TypeAlias = str | Callable[[], Given | Awaitable[Given]]


class MissingCredentialError(ConfigurationError):
    """No secret of that name, or its function failed: the message says which, and never the secret."""


class _Kept(Struct, frozen=True):
    """A token, when to fetch the next, and until when it may be sent. Monotonic milliseconds."""

    value: str
    renew_ms: int
    until_ms: int

    def __repr__(self) -> str:
        return "_Kept(...)"


class Credentials:
    """``get(name)`` -> (secret, whether it is a token from a callable). A plain string from a callable is
    kept for a minute. In one event loop."""

    def __init__(self, given: Mapping[str, Credential] | None, clock: Callable[[], int]) -> None:
        self._given = dict(given or {})
        self._clock = clock
        self._tokens: dict[str, _Kept] = {}
        self._fetching: dict[str, asyncio.Task[_Kept]] = {}
        self._not_before_ms: dict[str, int] = {}  # after a failure: no call for each request

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._given)})"

    async def get(self, name: str) -> tuple[str, bool]:
        """Raises ``MissingCredentialError`` when there is none, or its callable fails."""
        if (found := self.at_hand(name)) is not None:
            return found
        given, kept = self._given[name], self._tokens.get(name)
        assert not isinstance(given, str)
        if kept is None or self._clock() >= kept.until_ms:
            kept = await asyncio.shield(self._fetch(name, given))
        else:
            self._fetch(name, given)
        return kept.value, True

    def at_hand(self, name: str) -> tuple[str, bool] | None:
        """What ``get`` gives, if nobody has to be asked for it; also outside the event loop. Raises
        ``MissingCredentialError`` when there is none."""
        given = self._given.get(name)
        if given is None:
            return _usable(name, self._from_environment(name)), False
        if isinstance(given, str):
            return _usable(name, given), False
        kept, now_ms = self._tokens.get(name), self._clock()
        if kept is None or now_ms >= kept.until_ms:
            return None
        renew = now_ms >= kept.renew_ms and now_ms >= self._not_before_ms.get(name, 0)
        return None if renew else (kept.value, True)

    def forget(self, name: str) -> None:
        """A provider refused it: ask anew the next time."""
        self._tokens.pop(name, None)

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._fetching.values():
            task.cancel()

    def _fetch(self, name: str, given: Callable[[], Given | Awaitable[Given]]) -> "asyncio.Task[_Kept]":
        """The one call that is on its way for this name."""
        task = self._fetching.get(name)
        if task is None:
            task = asyncio.create_task(self._call(name, given), name=f"tieline credential {name}")
            self._fetching[name] = task
            task.add_done_callback(lambda done: self._fetched(name, done))
        return task

    async def _call(self, name: str, given: Callable[[], Given | Awaitable[Given]]) -> _Kept:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                # A plain function may block, as those of providers' own libraries do.
                found = given() if _is_async(given) else await asyncio.to_thread(given)
                if inspect.isawaitable(found):
                    found = await found
        except Exception as error:  # noqa: BLE001  a user's function: whatever it raises is a missing secret
            said = str(error) if isinstance(error, MissingCredentialError) else type(error).__name__
            raise MissingCredentialError(f"credential {name!r}: its function raised {said}") from None
        token = found if isinstance(found, Token) else Token(found)
        lasts_ms, now_ms = max(0, token.expires_in_ms), self._clock()
        return _Kept(
            _usable(name, token.value),
            now_ms + lasts_ms - min(RENEW_BEFORE_MAX_MS, lasts_ms // 4),
            now_ms + lasts_ms - min(LAST_USE_BEFORE_MAX_MS, lasts_ms // 10),
        )

    def _fetched(self, name: str, task: "asyncio.Task[_Kept]") -> None:
        del self._fetching[name]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._not_before_ms[name] = self._clock() + AGAIN_AFTER_MS
            _log.warning("%s", error)
        else:
            self._tokens[name] = task.result()

    def _from_environment(self, name: str) -> str:
        variable = PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())
        value = os.environ.get(variable, "")
        if not value:
            raise MissingCredentialError(f"credential {name!r} is not given: pass it or set {variable}")
        return value


def _is_async(given: object) -> bool:
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__)


def _usable(name: str, secret: object) -> str:
    """The secret as a header can carry it. An HTTP library would repeat one that it can't send."""
    text = secret.strip() if isinstance(secret, str) else ""
    if not text or not all("!" <= character <= "~" for character in text):
        raise MissingCredentialError(f"credential {name!r} is empty or holds what no header can carry")
    return text
