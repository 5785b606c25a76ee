"""Secrets by the name that the table gives: from the application's mapping, else from the environment or a
file that it names.

A secret is asked for when a request needs it and sent to that pool's URL only. It is never logged and shows
in no repr. Tokens that expire are fetched anew before they do, beside the requests, by one call at a time:

    given out        renew          last use  expires
    |----------------|--------------|---------|
                     last quarter, at most 4 min

Between ``renew`` and ``last use`` requests go on with the token in hand while one call fetches the next. If a
call fails, that is an alarm of the client, and the function is asked again after 1 s, 2 s, 4 s and so on, at
most 10 s, whether or not a request needs it. Meanwhile the token in hand is used to its ``last use``; after
that requests fail at once, and go to pools with other credentials.
"""

import asyncio
import inspect
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from tieline.backoff import Backoff
from tieline.errors import ConfigurationError

PREFIX = "TIELINE_CREDENTIAL_"
TOKEN_DEFAULT_MS = 60_000
RENEW_BEFORE_MAX_MS = 240_000
LAST_USE_BEFORE_MAX_MS = 10_000
AGAIN_FIRST_S = 1.0
AGAIN_LONGEST_S = 10.0
FETCH_TIMEOUT_S = 30.0
# A function that gives a refused token again is not called again for it before this time is over.
FORGET_AGAIN_AFTER_MS = 1_000
_log = logging.getLogger("tieline")


class Token(Struct, frozen=True):
    """A secret that expires ``expires_in_ms`` after it was given out; ``value`` is in no repr."""

    value: str
    expires_in_ms: int = TOKEN_DEFAULT_MS

    def __repr__(self) -> str:
        return "Token(...)"


class RequestToSign(Struct, frozen=True):
    """A request as it will be sent. ``target``: its path with the query. ``host``: the value of its header
    of that name. ``content_type``: "" without a body. ``body``: its pieces in order, none of them a copy;
    ``body_bytes``: how long they are together."""

    method: str
    target: str
    host: str
    content_type: str = ""
    body: Iterable[bytes | memoryview] = ()
    body_bytes: int = 0


class RequestSigner(ABC):
    """A credential that signs each request in place of a secret that goes along with it. ``sign`` is called
    for each attempt: by an ``AsyncClient`` in a thread, by a ``Client`` in the caller's, so it may block and
    must be thread-safe."""

    @abstractmethod
    def sign(self, request: RequestToSign) -> list[tuple[bytes, bytes]]:
        """The headers (name, value) to send. They replace those of the same names; ``content-length`` and
        ``host`` are sent in any case and need not be among them. Whatever it raises is a missing
        credential."""


Secret: TypeAlias = str | Token


class SecretInUse(NamedTuple):
    """What a request shows a pool. ``is_token``: it goes out as a bearer token, also where the adapter sends
    keys in a header of their own. ``may_change``: it can be asked for anew once a provider refuses it."""

    value: str | RequestSigner
    is_token: bool = False
    may_change: bool = False

    def __repr__(self) -> str:
        return "SecretInUse(...)"


class SecretFile:
    """The file that ``TIELINE_CREDENTIAL_<NAME>_FILE`` names. It holds a key, as the variable itself would.

    Called, it reads the file anew, without spaces and line ends around the secret; raises
    ``SecretFileError``.
    """

    def __init__(self, variable: str, path: str) -> None:
        self._variable = variable
        self._path = path

    def __call__(self) -> str:
        try:
            return Path(self._path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise SecretFileError(f"{self._variable}: {self._path} can't be read: {why}") from None


SecretFunction: TypeAlias = Callable[[], Secret | Awaitable[Secret]]
SecretSource: TypeAlias = str | SecretFunction


class ForHosts:
    """A secret or signer with the only hosts that it may be sent to: ``ForHosts(secret, "llm.example.com",
    "*.internal.example.com")``. ``*`` stands for any text. A whole origin such as
    ``http://llm.internal:8000`` also allows plain http there, which nothing else does off this machine."""

    def __init__(self, secret: SecretSource | RequestSigner, *hosts: str) -> None:
        if not hosts or not all(isinstance(host, str) and host.strip() for host in hosts):
            raise ConfigurationError(
                "ForHosts: give at least one host, e.g. ForHosts(secret, 'llm.example.com')"
            )
        self.secret = secret
        self.hosts = tuple(host.strip().lower() for host in hosts)

    def __repr__(self) -> str:
        return f"ForHosts(..., {', '.join(map(repr, self.hosts))})"


Credential: TypeAlias = SecretSource | RequestSigner | ForHosts


class MissingCredentialError(ConfigurationError):
    """No secret of that name, or its function failed: the message says which, and never the secret."""


class SecretFileError(MissingCredentialError):
    """The file with a secret can't be read: the message names its variable, and says why."""


class _TokenInUse(Struct, frozen=True):
    """A token, when it was fetched, when to fetch the next, and until when it may be sent. Monotonic
    milliseconds."""

    value: str
    fetched_ms: int
    renew_ms: int
    until_ms: int

    def __repr__(self) -> str:
        return "_TokenInUse(...)"


class _Failure(Struct, frozen=True):
    """Why a function gave no token. Until ``until_ms`` it is asked again by a timer and by no request."""

    text: str
    until_ms: int


def variable_of(name: str) -> str:
    """The environment variable that holds a secret, e.g. TIELINE_CREDENTIAL_AZURE_EU for azure-eu: letters in
    capitals, everything but letters and digits an underscore."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def secret_file(name: str, environment: Mapping[str, str]) -> SecretFile | None:
    """The file that ``TIELINE_CREDENTIAL_<NAME>_FILE`` names. None without that variable, and where
    ``TIELINE_CREDENTIAL_<NAME>`` itself is set."""
    variable = variable_of(name)
    path = environment.get(f"{variable}_FILE", "").strip()
    if not path or environment.get(variable):
        return None
    return SecretFile(f"{variable}_FILE", path)


class Credentials:
    """Every secret of one process, for one event loop.

    ``sources``: by the name in the table, a string, a function (plain or async) that gives a string or a
    ``Token``, or a ``RequestSigner``; a plain string from a function is kept for a minute. Names that are not
    there are looked up in ``environment``, where a secret stands itself or in a file that ``secret_file``
    reads like a function. ``clock`` gives monotonic milliseconds. ``on_back(name)`` is
    called when a function that had failed gives a token again.
    """

    def __init__(
        self,
        sources: Mapping[str, Credential] | None,
        clock: Callable[[], int],
        environment: Mapping[str, str] = os.environ,
        *,
        on_back: Callable[[str], None] | None = None,
    ) -> None:
        entries = sources or {}
        self._sources = {
            name: source.secret if isinstance(source, ForHosts) else source
            for name, source in entries.items()
        }
        self._hosts = {name: entry.hosts for name, entry in entries.items() if isinstance(entry, ForHosts)}
        self._clock = clock
        self._environment = environment
        self._tokens: dict[str, _TokenInUse] = {}
        self._refused: dict[str, str] = {}  # the last token of each name that a provider refused
        self._fetches: dict[str, asyncio.Task[_TokenInUse]] = {}
        self._failures: dict[str, _Failure] = {}
        self._waits: dict[str, Backoff] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._on_back = on_back

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._sources)})"

    def hosts_of(self, name: str) -> tuple[str, ...]:
        """The hosts that were given with a secret, here or in the environment; empty for none."""
        text = self._environment.get(f"{variable_of(name)}_HOSTS", "")
        listed = tuple(host.strip().lower() for host in text.split(",") if host.strip())
        return self._hosts.get(name, listed)

    @property
    def alarm(self) -> str:
        """Which functions give no token, and why; "" while all do."""
        return "; ".join(sorted(failure.text for failure in list(self._failures.values())))

    async def get(self, name: str) -> SecretInUse:
        """The secret or signer of this name. Raises ``MissingCredentialError`` when there is none, or its
        function fails."""
        if (secret := self.at_hand(name)) is not None:
            return secret
        source, token = self._function(name), self._tokens.get(name)
        if token is None or self._clock() >= token.until_ms:
            token = await asyncio.shield(self._fetch(name, source))
        else:
            self._fetch(name, source)
        return _in_use(source, token)

    def at_hand(self, name: str) -> SecretInUse | None:
        """What ``get`` gives, if no function has to be called for it, else None; also outside the event loop.
        Raises ``MissingCredentialError`` when there is no such secret."""
        source = self._sources.get(name)
        if source is None and (value := self._environment.get(variable_of(name), "")):
            return SecretInUse(_usable(name, value))
        if source is None:
            source = self._sources[name] = self._from_file(name)
        if isinstance(source, str):
            return SecretInUse(_usable(name, source))
        if isinstance(source, RequestSigner):
            return SecretInUse(source)
        token, now_ms = self._tokens.get(name), self._clock()
        failure = self._failures.get(name)
        by_timer = failure is not None and now_ms < failure.until_ms
        if token is None or now_ms >= token.until_ms:
            if failure is not None and by_timer:
                raise MissingCredentialError(failure.text)
            return None
        renew = now_ms >= token.renew_ms and not by_timer
        return None if renew else _in_use(source, token)

    def forget(self, name: str, value: str) -> None:
        """A provider refused this token: its function is called anew the next time.

        Only the token that was refused is forgotten. In a burst most refusals come when the next token is
        here already, and that one has been refused to nobody. A function that gives the refused token again
        has no other, and is called at most once a second for it.
        """
        token = self._tokens.get(name)
        if token is None or token.value != value:
            return
        is_given_again = self._refused.get(name) == value
        if is_given_again and self._clock() - token.fetched_ms < FORGET_AGAIN_AFTER_MS:
            return
        self._refused[name] = value
        self._tokens.pop(name, None)  # another thread may have been quicker

    def close(self) -> None:
        """End the calls that are on their way, and those to come."""
        for task in self._fetches.values():
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._failures.clear()

    def _fetch(self, name: str, function: SecretFunction) -> "asyncio.Task[_TokenInUse]":
        """The one call that is on its way for this name."""
        task = self._fetches.get(name)
        if task is None:
            task = asyncio.create_task(self._call(name, function), name=f"tieline credential {name}")
            self._fetches[name] = task
            task.add_done_callback(lambda ended: self._take(name, ended))
        return task

    async def _call(self, name: str, function: SecretFunction) -> _TokenInUse:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                # A plain function may block, as those of providers' own libraries do.
                secret = function() if _is_async(function) else await asyncio.to_thread(function)
                if inspect.isawaitable(secret):
                    secret = await secret
        except SecretFileError as error:
            raise MissingCredentialError(f"credential {name!r}: {error}") from None
        except Exception as error:  # noqa: BLE001  a user's function: whatever it raises is a missing secret
            # The text of an unknown error may repeat a secret, its type can't.
            reason = str(error) if isinstance(error, MissingCredentialError) else type(error).__name__
            raise MissingCredentialError(f"credential {name!r}: its function raised {reason}") from None
        token = secret if isinstance(secret, Token) else Token(secret)
        lasts_ms, now_ms = max(0, token.expires_in_ms), self._clock()
        return _TokenInUse(
            _usable(name, token.value),
            now_ms,
            renew_ms=now_ms + lasts_ms - min(RENEW_BEFORE_MAX_MS, lasts_ms // 4),
            until_ms=now_ms + lasts_ms - min(LAST_USE_BEFORE_MAX_MS, lasts_ms // 10),
        )

    def _take(self, name: str, task: "asyncio.Task[_TokenInUse]") -> None:
        del self._fetches[name]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._failed(name, str(error))
            return
        self._tokens[name] = task.result()
        self._waits.pop(name, None)
        if self._failures.pop(name, None) is not None:
            _log.info("credential %r: its function gives tokens again", name)
            if self._on_back is not None:
                self._on_back(name)

    def _failed(self, name: str, text: str) -> None:
        before, wait_s = self._failures.get(name), self._wait_s(name)
        if before is None or before.text != text:
            _log.error("%s", text)
        # Longer than the wait, so that requests stand back as well while the next call is on its way.
        until_ms = self._clock() + round((wait_s + FETCH_TIMEOUT_S) * 1_000)
        self._failures[name] = _Failure(text, until_ms)
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(wait_s, self._again, name)

    def _wait_s(self, name: str) -> float:
        waits = self._waits.get(name)
        if waits is None:
            waits = self._waits[name] = Backoff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        return waits.next_s()

    def _again(self, name: str) -> None:
        del self._timers[name]
        self._fetch(name, self._function(name))

    def _function(self, name: str) -> SecretFunction:
        source = self._sources[name]
        assert not isinstance(source, str | RequestSigner)
        return source

    def _from_file(self, name: str) -> SecretFunction:
        if (read := secret_file(name, self._environment)) is None:
            raise MissingCredentialError(
                f"credential {name!r} is missing: pass it or set {variable_of(name)}"
            )
        return read


def _in_use(source: SecretFunction, token: _TokenInUse) -> SecretInUse:
    """A key from a file goes out as a key, and what any other function gave as a token."""
    return SecretInUse(token.value, is_token=not isinstance(source, SecretFile), may_change=True)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _usable(name: str, secret: object) -> str:
    """The secret as a header can carry it. Others are refused here, because an HTTP library would repeat one
    in its error."""
    text = secret.strip() if isinstance(secret, str) else ""
    if not text or not all("!" <= character <= "~" for character in text):
        raise MissingCredentialError(
            f"credential {name!r} is empty or has characters that no header can carry"
        )
    return text
