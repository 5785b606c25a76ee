"""Secrets by the name that the table gives: from the application's mapping, else from the environment.

A secret is asked for when a request needs it and sent to that pool's URL only. It is never logged and shows
in no repr.
"""

import inspect
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from tieline._errors import ConfigurationError

PREFIX = "TIELINE_CREDENTIAL_"
TOKEN_KEPT_MS = 60_000
RENEW_BEFORE_MS = 60_000


class Token(Struct, frozen=True):
    """A secret that expires ``expires_in_ms`` after it was given out."""

    value: str
    expires_in_ms: int = TOKEN_KEPT_MS + RENEW_BEFORE_MS

    def __repr__(self) -> str:
        return "Token(...)"


Given: TypeAlias = str | Token
Credential: TypeAlias = str | Callable[[], Given | Awaitable[Given]]


class MissingCredentialError(ConfigurationError):
    """No secret of that name."""


class Credentials:
    """``get(name)`` -> (secret, whether it is a token from a callable). Tokens are kept until shortly
    before they expire; a plain string from a callable for a minute."""

    def __init__(self, given: Mapping[str, Credential] | None, clock: Callable[[], int]) -> None:
        self._given = dict(given or {})
        self._clock = clock
        self._tokens: dict[str, tuple[str, int]] = {}

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._given)})"

    async def get(self, name: str) -> tuple[str, bool]:
        """Raises ``MissingCredentialError`` when there is none, or its callable fails."""
        given = self._given.get(name)
        if isinstance(given, str):
            return given, False
        if given is None:
            return self._from_environment(name), False
        kept = self._tokens.get(name)
        if kept is not None and self._clock() < kept[1]:
            return kept[0], True
        try:
            found = given()
            if inspect.isawaitable(found):
                found = await found
        except Exception as error:  # noqa: BLE001  a user's function: whatever it raises is a missing secret
            raise MissingCredentialError(
                f"credential {name!r}: its function raised {type(error).__name__}"
            ) from None
        token = found if isinstance(found, Token) else Token(found)
        self._tokens[name] = token.value, self._clock() + max(0, token.expires_in_ms - RENEW_BEFORE_MS)
        return token.value, True

    def forget(self, name: str) -> None:
        """A provider refused it: ask anew the next time."""
        self._tokens.pop(name, None)

    def _from_environment(self, name: str) -> str:
        variable = PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())
        value = os.environ.get(variable, "")
        if not value:
            raise MissingCredentialError(f"credential {name!r} is not given: pass it or set {variable}")
        return value
