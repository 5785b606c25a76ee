"""Records that stand in a file as JSON -> what Kafka would have of each. Pure.

A record is an object with ``headers`` (an object, pairs, or names and texts in turn), ``value`` (JSON, or
the text of the body) or ``value_base64``, and perhaps ``key`` and ``topic``. What `kcat -J` prints has the
body in ``payload``. An object with ``specversion`` is itself an event in the structured mode.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from controller.cli.event_input import InputError
from tieline.cloudevents import STRUCTURED, Headers

FILE_MAX_BYTES = 64 * 1024 * 1024


class FileRecord(NamedTuple):
    """One record. ``key`` and ``topic`` are None where the file doesn't say them. ``refused_for``, ``place``
    and ``read_as`` are what a golden record expects."""

    line: int
    headers: Headers
    value: bytes | None
    key: bytes | None = None
    topic: str | None = None
    name: str = ""
    refused_for: str = ""
    place: str = ""
    read_as: Any = None


def read_records(text: str, place: str) -> list[FileRecord]:
    """The records in JSON text: one a line, or one object, or a list. Raises InputError."""
    if len(text.encode()) > FILE_MAX_BYTES:
        raise InputError(f"{place} is larger than {FILE_MAX_BYTES} bytes.")
    rows = list(_rows(text, place))
    if not rows:
        raise InputError(f"{place} has no records: write one JSON object a line.")
    return [_record(line, row, f"{place}:{line}") for line, row in rows]


def _rows(text: str, place: str) -> Iterator[tuple[int, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, _json(line, f"{place}:{number}")
    else:
        rows = whole if isinstance(whole, list) else [whole]
        yield from enumerate(rows, 1)


def _json(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {error}.") from None


def _record(line: int, row: Any, place: str) -> FileRecord:
    if not isinstance(row, dict):
        raise InputError(f"{place} is no object: a record has headers, and value or value_base64.")
    if "specversion" in row and "headers" not in row:
        headers: Headers = [("content-type", STRUCTURED.encode())]
        return FileRecord(line, headers, value=json.dumps(row).encode())
    key, topic = row.get("key"), row.get("topic")
    return FileRecord(
        line,
        _headers(row.get("headers"), place),
        value=_value(row, place),
        key=None if key is None else str(key).encode(),
        topic=None if topic is None else str(topic),
        name=str(row.get("name", "")),
        refused_for=str(row.get("refused_for", "")),
        place=str(row.get("place", "")),
        read_as=row.get("read_as"),
    )


def _headers(headers: Any, place: str) -> Headers:
    if isinstance(headers, dict):
        pairs = list(headers.items())
    elif isinstance(headers, list) and all(isinstance(item, list) and len(item) == 2 for item in headers):
        pairs = [tuple(item) for item in headers]
    elif isinstance(headers, list) and len(headers) % 2 == 0:
        pairs = list(zip(headers[::2], headers[1::2], strict=True))
    else:
        raise InputError(f"{place} has no headers: write an object of names and texts.")
    return [(str(name), None if text is None else str(text).encode()) for name, text in pairs]


def _value(row: dict[str, Any], place: str) -> bytes | None:
    if "value_base64" in row:
        try:
            return base64.b64decode(str(row["value_base64"]), validate=True)
        except binascii.Error as error:
            raise InputError(f"{place}: value_base64 is no base64: {error}.") from None
    if "value" not in row and "payload" not in row:
        raise InputError(f"{place} has no body: write value (JSON) or value_base64.")
    value = row["value"] if "value" in row else row["payload"]
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
