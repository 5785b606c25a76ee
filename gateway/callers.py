"""Who calls: the tokens of the file, known by their digests.

A token is looked up by a digest that is keyed with random bytes of this process. How long that takes depends
on the keyed digest, of which nobody outside can know or choose a single bit, so it tells nothing about the
tokens that there are.
"""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from secrets import token_bytes

from msgspec import Struct

from controller.process.errors import SettingError
from controller.process.secret_places import read_secret
from gateway.configuration import CallerToken, GatewayFile
from tieline.forwarding import Headers

TOKEN_MIN_CHARACTERS = 16
KEY_BYTES = 32
# Where SDKs put a token: OpenAI's, that of Azure, Anthropic's and Google's.
_PLACES = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")


class Caller(Struct, frozen=True):
    """Whose request it is, and where its requests belong. ``may_use``: every workload that they may name.
    ``requests_per_s``, ``units_per_s``: its limits, 0 for none; ``weight``: its part when there is too
    little."""

    name: str
    workload: str
    origin: str
    may_use: frozenset[str]
    requests_per_s: float = 0.0
    units_per_s: float = 0.0
    weight: float = 1.0


class Callers:
    """The callers of one file. Without any token there is one caller, whoever it is."""

    def __init__(self, file: GatewayFile, environment: Mapping[str, str]) -> None:
        """Raises ``SettingError`` for a token that can't be read, is short, or is given twice."""
        self._key = token_bytes(KEY_BYTES)
        self._callers: dict[bytes, Caller] = {}
        first = file.workloads[0]
        everything = frozenset(served.workload for served in file.workloads)
        self._anybody = Caller("anybody", first.workload, first.origins[0], may_use=everything)
        for number, token in enumerate(file.tokens):
            place = f"tokens[{number}] ({token.name})"
            keyed = self._keyed(_digest(token, environment, place))
            if (other := self._callers.get(keyed)) is not None:
                raise SettingError(f"{place}: it is the token of {other.name} too: give each its own")
            self._callers[keyed] = _caller(token, file)

    def __len__(self) -> int:
        return len(self._callers)

    @property
    def everybody(self) -> Sequence[Caller]:
        """All callers, in the order of the file."""
        return tuple(self._callers.values()) or (self._anybody,)

    def find(self, shown: str | None) -> Caller | None:
        """The caller with this token; None without one."""
        if not self._callers:
            return self._anybody
        if shown is None:
            return None
        return self._callers.get(self._keyed(sha256(shown.encode("utf-8", "replace")).digest()))

    def _keyed(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, digest, "sha256")


def token_shown(headers: Headers) -> str | None:
    """The token that a request shows, wherever its SDK puts it; None without one."""
    for name, value in headers:
        if (lower := name.lower()) in _PLACES:
            text = value.decode("latin-1").strip()
            if lower != b"authorization":
                return text
            kind, _, token = text.partition(" ")
            if kind.lower() == "bearer":
                return token.strip()
    return None


def _digest(token: CallerToken, environment: Mapping[str, str], place: str) -> bytes:
    if token.secret is None:
        return bytes.fromhex(token.sha256)
    text = read_secret(token.secret, environment, f"{place}: secret")
    if len(text) < TOKEN_MIN_CHARACTERS or not text.isascii() or " " in text:
        raise SettingError(
            f"{place}: the token is not valid: give at least {TOKEN_MIN_CHARACTERS} characters of ASCII "
            "without spaces, e.g. of `openssl rand -hex 24`"
        )
    return sha256(text.encode()).digest()


def _caller(token: CallerToken, file: GatewayFile) -> Caller:
    workload = token.workload or file.workloads[0].workload
    return Caller(
        token.name,
        workload,
        token.origin or file.origins(workload)[0],
        may_use=frozenset({workload, *token.also}),
        requests_per_s=token.requests_per_s,
        units_per_s=token.units_per_s,
        weight=token.weight,
    )
