"""The last good table as a file: written whole or not at all, with its checksum.

A client writes it after each table and reads it at its start (``AsyncClient(last_good=...)``). It can also be
the only source of tables (``tieline.offline``): then it is read again every second.
"""

import asyncio
import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from tieline._routing.slices import ClientTable
from tieline._tables.checks import (
    ANY_TABLE,
    FILE_POLL_S,
    Subscriber,
    TableTrust,
    TableUpdate,
    require_same_lineage,
)
from tieline.errors import UNDECODABLE
from tieline.table import (
    SCHEMA,
    Generation,
    SignedManifest,
    TableError,
    checksum,
    decode_manifest,
    decode_slice,
)

FILE_MAX_BYTES = 32 * 1024 * 1024
_MAGIC = b"tieline-last-good-1\n"


class _Content(Struct, frozen=True):
    """What the file holds after its first line and its checksum."""

    generation: Generation
    parts: dict[str, bytes]  # origin -> the slice's bytes
    schema: int = SCHEMA
    overlay: bytes = b""
    proof: SignedManifest | None = None


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(_Content)


def write_last_good(
    path: Path,
    generation: Generation,
    parts: dict[str, bytes],
    overlay: bytes = b"",
    proof: SignedManifest | None = None,
) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never a part. Raises OSError.

    ``parts``: bytes of slices by origin; ``overlay``: the signed emergency overlay in force;
    ``proof``: the manifest that the table came with, so that its signature can be checked at the next start.
    """
    body = _encode(_Content(generation, parts, overlay=overlay, proof=proof))
    data = _MAGIC + checksum(body).encode() + b"\n" + body
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_last_good(
    path: Path, workload: str, origins: Collection[str], trust: TableTrust = ANY_TABLE
) -> ClientTable | None:
    """The table in the file, or None if there is no file.

    Raises ``TableError`` for a file that can't be used, also when it lacks the route of this workload and one
    of these origins: what one workload or origin may use can be forbidden to another. With keys in ``trust``
    also for a table that none of them signed.
    """
    data = _read(path)
    if data is None:
        return None
    magic, _, rest = data.partition(b"\n")
    stored, _, body = rest.partition(b"\n")
    if magic + b"\n" != _MAGIC or checksum(body).encode() != stored:
        raise TableError(f"{path}: damaged, or not a last good table")
    try:
        content = _decoder.decode(body)
        parts = {origin: decode_slice(part, checksum(part)) for origin, part in content.parts.items()}
    except (*UNDECODABLE, TableError) as error:
        raise TableError(f"{path}: {error}") from None
    if content.schema != SCHEMA or not parts:
        raise TableError(f"{path}: of schema {content.schema} or empty; this library reads schema {SCHEMA}")
    _check_proof(path, content, workload, trust)
    names = {part.route.name for part in parts.values()}
    if lacks := sorted({f"{workload}/{origin}" for origin in origins} - names):
        raise TableError(f"{path}: has no route {', '.join(lacks)}; it has {', '.join(sorted(names))}")
    return ClientTable(content.generation, parts, overlay=content.overlay)


def _check_proof(path: Path, content: _Content, workload: str, trust: TableTrust) -> None:
    """Raises ``TableError`` unless the table in the file is one that the keys signed."""
    if not trust.accepted:
        return
    proof = content.proof or SignedManifest(b"")
    try:
        trust.require(proof)
        manifest = decode_manifest(proof.manifest)
    except TableError as error:
        raise TableError(f"{path}: {error}") from None
    is_signed = all(
        manifest.slices.get(f"{workload}/{origin}") == checksum(part)
        for origin, part in content.parts.items()
    )
    if manifest.generation != content.generation or not is_signed:
        raise TableError(f"{path}: its table is not the one whose signature it holds")


class FileSource:
    """Reads the file every second; a newer generation replaces the one in force."""

    def __init__(self, path: Path, workload: str, origins: Collection[str]) -> None:
        self._path, self._workload, self._origins = path, workload, origins

    async def run(self, subscriber: Subscriber) -> None:
        """Follow the file until cancelled."""
        while True:
            try:
                await self._look(subscriber)
            except TableError as error:
                subscriber.failed(str(error))
            await asyncio.sleep(FILE_POLL_S)

    async def _look(self, subscriber: Subscriber) -> None:
        table = await asyncio.to_thread(
            read_last_good, self._path, self._workload, self._origins, subscriber.trust
        )
        if table is None:
            raise TableError(f"{self._path}: no such file")
        subscriber.overlay(table.overlay)
        in_force = subscriber.held_generation
        require_same_lineage(str(self._path), table.generation, in_force)
        if table.generation.newer_than(in_force):
            subscriber.take(TableUpdate(table, {}))
        subscriber.heard()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from None
    if len(data) > FILE_MAX_BYTES:
        raise TableError(f"{path}: larger than {FILE_MAX_BYTES} bytes")
    return data
