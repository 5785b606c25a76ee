"""The last good table as a file: written whole or not at all, with its checksum, read at start."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from tieline._routing.compile import Held
from tieline.table import SCHEMA, Generation, TableError, checksum, decode_slice

FILE_MAX_BYTES = 32 * 1024 * 1024
_MAGIC = b"tieline-last-good-1\n"


class _Content(Struct, frozen=True):
    generation: Generation
    parts: dict[str, bytes]  # origin -> the slice's bytes
    schema: int = SCHEMA
    overlay: bytes = b""


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(_Content)


def write_last_good(
    path: Path, generation: Generation, parts: dict[str, bytes], overlay: bytes = b""
) -> None:
    """Replace the file in one step. Raises OSError."""
    body = _encode(_Content(generation, parts, overlay=overlay))
    data = _MAGIC + checksum(body).encode() + b"\n" + body
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def read_last_good(path: Path, workload: str, origins: Collection[str]) -> Held | None:
    """The table in the file; None if there is no file. Raises ``TableError`` for one that can't be used, or
    that is not of this workload and all of these origins: what one may use is not lawful for another."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from None
    if len(data) > FILE_MAX_BYTES:
        raise TableError(f"{path}: larger than {FILE_MAX_BYTES} bytes")
    magic, _, rest = data.partition(b"\n")
    stored, _, body = rest.partition(b"\n")
    if magic + b"\n" != _MAGIC or checksum(body).encode() != stored:
        raise TableError(f"{path}: damaged, or not a last good table")
    try:
        content = _decoder.decode(body)
        parts = {origin: decode_slice(part, checksum(part)) for origin, part in content.parts.items()}
    except (msgspec.MsgspecError, TableError) as error:
        raise TableError(f"{path}: {error}") from None
    if content.schema != SCHEMA or not parts:
        raise TableError(f"{path}: of schema {content.schema} or empty, this library reads {SCHEMA}")
    has = {part.route.name for part in parts.values()}
    if lacks := sorted({f"{workload}/{origin}" for origin in origins} - has):
        raise TableError(f"{path}: has no route {', '.join(lacks)}; it has {', '.join(sorted(has))}")
    return Held(content.generation, parts, overlay=content.overlay)
