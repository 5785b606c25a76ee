"""Who may ask: bearer tokens from a file or the environment, compared in constant time, never repeated.

Only their digests are kept. A file is read anew when it changes, so that tokens are changed without a
restart: add the new one, let clients move over, remove the old one.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from controller.process.errors import SettingError

TOKENS = "TIELINE_HTTP_TOKENS"
TOKEN_MIN_CHARACTERS = 16
TOKENS_MAX = 1_000
FILE_MAX_BYTES = 256 * 1024


class Tokens:
    """``allowed(header)``. Without any token everybody is let in: only for an endpoint on loopback."""

    def __init__(self, path: Path | None, environment: Mapping[str, str]) -> None:
        self._path = path
        self._fixed = _digests(environment.get(TOKENS, "").replace(",", " ").split(), TOKENS)
        self._stamp: tuple[int, int] | None = None
        self._from_file: tuple[bytes, ...] = ()
        if path is not None:
            self.reread()

    def __len__(self) -> int:
        return len(self._fixed) + len(self._from_file)

    def __repr__(self) -> str:
        return f"Tokens({len(self)})"

    def reread(self) -> bool:
        """Reads the file if it has changed; says whether it had. Raises ``SettingError``: then the tokens
        known so far stay."""
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return False
            if found.st_size > FILE_MAX_BYTES:
                raise SettingError(f"{self._path} is no file of tokens: more than {FILE_MAX_BYTES} bytes")
            lines = self._path.read_text("ascii").splitlines()
        except OSError as error:
            raise SettingError(f"the tokens in {self._path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingError(f"{self._path} is no file of tokens: not ASCII") from None
        words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        digests = _digests(words, str(self._path))
        if not digests:
            raise SettingError(
                f"{self._path} holds no token: write one a line, e.g. of `openssl rand -hex 24`"
            )
        self._from_file, self._stamp = digests, stamp
        return True

    def allowed(self, authorization: str) -> bool:
        """Whether the header carries one of the tokens. Looks at all of them, however early one fits."""
        known = (*self._fixed, *self._from_file)
        if not known:
            return True
        kind, _, token = authorization.partition(" ")
        given = sha256(token.strip().encode("utf-8", "replace")).digest()
        fits = sum(hmac.compare_digest(given, one) for one in known)
        return kind.lower() == "bearer" and fits > 0


def _digests(words: list[str], place: str) -> tuple[bytes, ...]:
    for number, word in enumerate(words, start=1):
        if len(word) < TOKEN_MIN_CHARACTERS or " " in word:
            raise SettingError(
                f"{place}: token {number} is no token: at least {TOKEN_MIN_CHARACTERS} characters without "
                "spaces, e.g. of `openssl rand -hex 24`"
            )
    if len(words) > TOKENS_MAX:
        raise SettingError(f"{place}: more than {TOKENS_MAX} tokens")
    return tuple(sha256(word.encode()).digest() for word in words)
