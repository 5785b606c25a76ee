"""Takes in the body of a request as the caller's HTTP library gives it, once and in any pieces.

Up to 1 MiB it becomes bytes. A larger one goes into a temporary file, unless it is JSON, which must be in
memory to be read. A form is read while it goes by, so its text fields are known at its end.
"""

from collections.abc import Mapping

from tieline._http.content import Spool
from tieline._http.messages import Headers, find
from tieline._request.form import Field, FormReader, boundary_of

MEMORY_BYTES_MAX = 1024 * 1024
_SPACE = b" \t\r\n"


class Upload:
    """``add`` its pieces, then ask for ``body`` and ``fields``. ``headers``: of the request."""

    def __init__(self, headers: Headers) -> None:
        boundary = boundary_of(find(headers, b"content-type") or "")
        self._reader = FormReader(boundary) if boundary is not None else None
        self._parts: list[bytes] = []
        self._memory_bytes = 0
        self._spool: Spool | None = None

    def add(self, piece: bytes) -> bool:
        """The next bytes; says whether they went into the file. Raises ``SpoolError``."""
        if not piece:
            return False
        if self._reader is not None:
            self._reader.feed(piece)
        if self._spool is None:
            self._parts.append(piece)
            self._memory_bytes += len(piece)
            if self._memory_bytes <= MEMORY_BYTES_MAX or self._is_json():
                return False
            self._spool, parts, self._parts = Spool(), self._parts, []
            for part in parts:
                self._spool.write(part)
        else:
            self._spool.write(piece)
        return True

    @property
    def body(self) -> bytes | Spool:
        """All that was added."""
        return b"".join(self._parts) if self._spool is None else self._spool

    @property
    def fields(self) -> Mapping[str, Field] | None:
        """The text fields of a form; None for what is none."""
        return self._reader.fields if self._reader is not None else None

    def _is_json(self) -> bool:
        return self._reader is None and self._parts[0].lstrip(_SPACE)[:1] in (b"{", b"[")
