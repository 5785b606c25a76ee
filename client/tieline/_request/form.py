"""PURE, sans I/O. Multipart forms (RFC 7578): what routing needs of one, read while it goes by.

Transcriptions, edits of images and uploads come as forms. Their text fields are read as those of a JSON body
are; files are passed over. A form is never built anew: another model's name takes the place of the old one,
and everything else reaches the pool byte for byte.
"""

import re

from msgspec import Struct

VALUE_MAX_BYTES = 64 * 1024  # of a text field that is read; a longer one is passed over
HEAD_MAX_BYTES = 16 * 1024  # of one part
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data(.*)$", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb';\s*name=(?:"([^"]*)"|([^\s;]+))', re.IGNORECASE)
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)


class Field(Struct, frozen=True):
    """A text field of a form, and the bytes of the form from ``start`` to ``end`` that are its value."""

    value: str
    start: int
    end: int


def boundary_of(content_type: str) -> bytes | None:
    """What stands between the parts of a form; None for what is no form."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2]).encode("latin-1", "replace") if match is not None else None


class FormReader:
    """Reads a form that comes in pieces of any size. ``fields``: its text fields so far, the first of each
    name. Of a form that is broken it knows what came before the break: the provider judges it."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, Field] = {}
        self._delimiter = b"\r\n--" + boundary
        self._rest = b"\r\n"  # so that the first boundary follows a line end as all others do
        self._rest_at = -2  # where in the form the rest begins
        self._name: str | None = None  # of the part that is read, None while it is passed over
        self._value_at = 0
        self._value = b""
        self._step = self._in_value

    def feed(self, data: bytes) -> None:
        """The next bytes of the form."""
        self._rest += data
        while self._step():
            pass

    def _take(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        self._rest_at += count
        return taken

    def _in_value(self) -> bool:
        """Up to the next boundary. What may be the beginning of one is left."""
        at = self._rest.find(self._delimiter)
        if at < 0:
            self._add(self._take(max(0, len(self._rest) - len(self._delimiter) + 1)))
            return False
        end = self._rest_at + at
        self._add(self._take(at))
        if self._name is not None:
            value = self._value.decode("utf-8", "replace")
            self.fields.setdefault(self._name, Field(value, self._value_at, end))
        self._take(len(self._delimiter))
        self._name, self._value, self._step = None, b"", self._in_head
        return True

    def _add(self, data: bytes) -> None:
        if self._name is None:
            return
        self._value += data
        if len(self._value) > VALUE_MAX_BYTES:
            self._name = None

    def _in_head(self) -> bool:
        """From a boundary to the beginning of the part's value."""
        if self._rest.startswith(b"--"):
            self._step = self._at_end
            return True
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > HEAD_MAX_BYTES:
                self._step = self._at_end
            return len(self._rest) > HEAD_MAX_BYTES
        self._name = _name_in(self._take(end + 4).replace(b"\r\n", b"\n"))
        self._value_at, self._step = self._rest_at, self._in_value
        return True

    def _at_end(self) -> bool:
        self._take(len(self._rest))
        return False


def _name_in(head: bytes) -> str | None:
    """The name of a text field; None for a file, and for what is no field of a form."""
    disposition = _DISPOSITION.search(head)
    if disposition is None or _FILE.search(disposition[1]):
        return None
    name = _NAME.search(disposition[1])
    return (name[1] or name[2] or b"").decode("utf-8", "replace") if name is not None else None
