"""PURE. Server-sent events from bytes that come in any pieces.

The parser works on bytes: a piece may end inside a line end or inside a UTF-8 character. All line ends become
LF first, so that an event is simply what stands before an empty line. Its ``data`` lines are joined; ``id``
and ``retry`` mean nothing here.
"""

from msgspec import Struct

EVENT_BYTES_MAX = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ServerSentEvent(Struct, frozen=True):
    """``name``: the value of its ``event`` line, b"" without one. ``data``: its data lines joined by LF; None
    for comments and events without data."""

    name: bytes = b""
    data: bytes | None = None


class EventParser:
    """Cuts a stream into blocks, one for each event or comment.

    ``pending_bytes``: of the event whose empty line has not come. ``overflowed``: an event was larger than 16
    MiB. It was dropped, and what it said is not known.
    """

    def __init__(self) -> None:
        self.overflowed = False
        self.pending_bytes = 0
        self._parts: list[bytes] = []  # of the event whose empty line has not come
        self._after_cr = False  # the last byte was CR: a LF now belongs to it
        self._at_start = True

    @property
    def between_events(self) -> bool:
        """Whether nothing of an event is pending: the next byte begins one."""
        return not self._parts and not self._after_cr and not self._at_start

    def blocks(self, data: bytes) -> list[bytes]:
        """The events that these bytes complete: their lines, with LF between them."""
        data = self._with_line_feeds(data)
        if self._parts and self._parts[-1][-1:] == b"\n" and data[:1] == b"\n":
            first, rest = b"", data[1:]
            ended = True
        else:
            first, boundary, rest = data.partition(b"\n\n")
            ended = bool(boundary)
        if not ended:
            self._keep(first)
            return []
        *others, last = rest.split(b"\n\n")
        blocks = [self._take(first), *others]
        self._keep(last)
        return [block for block in (block.strip(b"\n") for block in blocks) if block]

    def rest(self) -> bytes:
        """The event that the end of the body left without its empty line; b"" for none."""
        return self._take(b"").strip(b"\n")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self.pending_bytes += len(data)
        if self.pending_bytes > EVENT_BYTES_MAX:
            self._parts = [data[-1:]]  # a line end in it is half of the empty line
        else:
            self._parts.append(data)

    def _take(self, data: bytes) -> bytes:
        if self.pending_bytes + len(data) > EVENT_BYTES_MAX:
            self.overflowed, block = True, b""
        else:
            block = b"".join([*self._parts, data])
        self._parts, self.pending_bytes = [], 0
        block = block.removeprefix(_BYTE_ORDER_MARK) if self._at_start else block
        self._at_start = False
        return block


def read_event(block: bytes) -> ServerSentEvent:
    """One event from its lines."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return ServerSentEvent(data=block[6:])
    name, data = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return ServerSentEvent(name, b"\n".join(data) if data else None)
