"""Who is let in, and how much of everything: bounds and bearer tokens.

Tokens come from a file or the environment. Only their digests are kept, and they are never repeated in an
error or a log. A file is read anew when it changes, so tokens are changed without a restart: add the new one,
let the clients move over, remove the old one.
"""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from controller.process.errors import SettingError
from controller.process.telemetry import logger

TOKENS = "TIELINE_HTTP_TOKENS"
TOKEN_MIN_CHARACTERS = 16
TOKENS_MAX = 1_000
FILE_MAX_BYTES = 256 * 1024
REREAD_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every number that bounds the endpoint. ``requests_per_s`` and ``burst`` are for one address."""

    connections_max: int = 2_000
    streams_max: int = 1_000
    requests_per_s: float = 200.0
    burst: float = 400.0
    body_max_bytes: int = 512 * 1024
    body_within_s: float = 5.0
    first_request_within_s: float = 10.0
    idle_s: float = 30.0
    repeat_every_s: float = 2.0  # a stream says this often what is newest, changed or not
    write_within_s: float = 5.0  # a stream whose reader takes longer is dropped
    stream_buffer_bytes: int = 16 * 1024


class Tokens:
    """The tokens that are let in. Without any, everybody is, which only an endpoint on loopback may do.

    Raises ``SettingError`` for a file or a variable that holds no usable tokens.
    """

    def __init__(self, path: Path | None, environment: Mapping[str, str]) -> None:
        self._path = path
        self._fixed = _digests(environment.get(TOKENS, "").replace(",", " ").split(), TOKENS)
        self._stamp: tuple[int, int] | None = None
        self._from_file: tuple[bytes, ...] = ()
        if path is not None:
            self.reread()

    def __len__(self) -> int:
        return len(self._fixed) + len(self._from_file)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of every token that is valid now."""
        return (*self._fixed, *self._from_file)

    def __repr__(self) -> str:
        return f"Tokens({len(self)})"

    def reread(self) -> bool:
        """Reads the file if it has changed; returns whether it had.

        Raises ``SettingError`` for a file without usable tokens; the former tokens then stay in force.
        """
        if self._path is None:
            return False
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return False
            if status.st_size > FILE_MAX_BYTES:
                raise SettingError(
                    f"{self._path} is not a file of tokens: it has more than {FILE_MAX_BYTES} bytes"
                )
            lines = self._path.read_text("ascii").splitlines()
        except OSError as error:
            raise SettingError(f"the tokens in {self._path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingError(f"{self._path} is not a file of tokens: it is not ASCII text") from None
        words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        digests = _digests(words, str(self._path))
        if not digests:
            raise SettingError(
                f"{self._path} holds no token: write one a line, e.g. of `openssl rand -hex 24`"
            )
        self._from_file, self._stamp = digests, stamp
        return True

    async def follow_file(self) -> None:
        """Reads the file anew when it changes, until cancelled. A bad file leaves the former tokens in
        force."""
        log = logger("web")
        while True:
            await asyncio.sleep(REREAD_EVERY_S)
            try:
                if self.reread():
                    log.info("the tokens were read anew", keys=len(self))
            except SettingError as error:
                log.warning("the new tokens can't be used; the former ones stay", error=str(error))

    def allowed(self, authorization: str) -> bool:
        """Whether the header carries one of the tokens. All of them are compared, however early one fits."""
        digests = self.digests
        if not digests:
            return True
        kind, _, token = authorization.partition(" ")
        caller = sha256(token.strip().encode("utf-8", "replace")).digest()
        fits = sum(hmac.compare_digest(caller, digest) for digest in digests)
        return kind.lower() == "bearer" and fits > 0


def _digests(words: list[str], place: str) -> tuple[bytes, ...]:
    for number, word in enumerate(words, start=1):
        if len(word) < TOKEN_MIN_CHARACTERS or " " in word:
            raise SettingError(
                f"{place}: token {number} is not valid: give at least {TOKEN_MIN_CHARACTERS} characters "
                "without spaces, e.g. of `openssl rand -hex 24`"
            )
    if len(words) > TOKENS_MAX:
        raise SettingError(f"{place}: there are more than {TOKENS_MAX} tokens: remove some")
    return tuple(sha256(word.encode()).digest() for word in words)
