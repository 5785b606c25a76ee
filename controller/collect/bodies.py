"""A body as it comes over the wire: its media type, its size, and its size after decompression. Pure."""

import zlib

from controller.collect.collector import UnreadableError

RATIO_MAX = 200  # feeds of repeated JSON compress to a fortieth at most
RATIO_FROM_BYTES = 1024 * 1024  # a small body may have any ratio
ENCODINGS = "gzip, deflate"
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def check_media_type(content_type: str, accepts: tuple[str, ...]) -> None:
    """Raises ``UnreadableError`` for another media type than those that are accepted."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in accepts:
        raise UnreadableError(f"the answer is {media_type or 'of no type'}, not {accepts[0]}")


class Body:
    """Takes the chunks of one body, as sent, and bounds what they become.

    ``content_encoding``: the header of that name. ``max_bytes``: the limit for what was sent and for what it
    becomes. Raises ``UnreadableError`` for an encoding that it does not know.
    """

    def __init__(self, content_encoding: str, max_bytes: int) -> None:
        encoding = content_encoding.strip().lower()
        if encoding not in ("", "identity", *_WINDOWS):
            raise UnreadableError(f"the body's encoding {encoding[:50]!r} was not asked for")
        self._inflating = zlib.decompressobj(_WINDOWS[encoding]) if encoding in _WINDOWS else None
        self._max_bytes = max_bytes
        self._sent_bytes = 0
        self._size_bytes = 0
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """Takes the next chunk. Raises ``UnreadableError`` as soon as a limit is passed."""
        self._sent_bytes += len(chunk)
        self._check(self._sent_bytes)
        if self._inflating is None:
            self._add(chunk)
            return
        while chunk:
            # One byte more than may still come shows that the limit is passed, and no more is unpacked.
            room = self._max_bytes - self._size_bytes + 1
            try:
                self._add(self._inflating.decompress(chunk, min(room, RATIO_FROM_BYTES)))
            except zlib.error as error:
                raise UnreadableError(f"the compressed body is damaged: {error}") from None
            chunk = self._inflating.unconsumed_tail
            if self._inflating.unused_data:
                raise UnreadableError("something follows the compressed body")

    def end(self) -> bytes:
        """The whole body. Raises ``UnreadableError`` when a compressed one was cut."""
        if self._inflating is not None and self._sent_bytes and not self._inflating.eof:
            raise UnreadableError("the compressed body was cut")
        return b"".join(self._parts)

    def _add(self, part: bytes) -> None:
        self._size_bytes += len(part)
        self._check(self._size_bytes)
        if self._size_bytes > RATIO_FROM_BYTES and self._size_bytes > RATIO_MAX * self._sent_bytes:
            raise UnreadableError(f"the body unpacks to more than {RATIO_MAX} times its size")
        self._parts.append(part)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise UnreadableError(f"the body has more than {self._max_bytes} bytes")
