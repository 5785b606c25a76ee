"""What Redis holds, read in one round trip: the live tables, the table for clients, and the overlay."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from controller.process.redis_reader import RedisReader
from controller.process.settings import Settings
from controller.status.overview import from_slices
from streams.reading import NAMES, Reading, unpacked_row
from streams.rows import DemandRow
from streams.store import DEMAND, Contents
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.overlay import Overlay, OverlayError, peek
from tieline.redis_primary import Question
from tieline.table import Generation, RouteTable, decode_manifest, decode_slice


class FromRedis(Struct, frozen=True):
    """What Redis holds: the live tables, the table of the newest generation there, and the overlay, whose
    signature is not checked. The overlay is None where it has expired or excludes nothing."""

    contents: Contents = Contents()
    projected: RouteTable | None = None
    overlay: Overlay | None = None


class RedisSide:
    """``async with RedisSide(settings) as redis: await redis.now(at_ms)``, as often as needed. Rows that have
    not changed since the last reading are not decoded again.

    Every method raises ``RedisUnreadError``, and TableError for a table that this version can't read.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.keys
        self._reader = RedisReader(settings.redis, settings.keys)
        self._reading = Reading()

    async def __aenter__(self) -> "RedisSide":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()

    async def now(self, at_ms: int, *, with_table: bool = True) -> FromRedis:
        """All of it, the live tables as of one moment."""
        rows: list[Question] = [("HGETALL", self._keys.table(name)) for name in NAMES]
        questions: list[Question] = [("MULTI",), ("GET", self._keys.table("run")), *rows, ("EXEC",)]
        questions.append(("GET", self._keys.overlay))
        if with_table:
            questions.append(("HGETALL", self._keys.routes))
        replies = await self._reader.ask(*questions)
        (marker, *tables), overlay = replies[len(rows) + 2 : len(rows) + 4]
        contents = self._reading.finish(marker.decode() if marker else None, map(_fields, tables))
        projected = _projected(_fields(replies[-1])) if with_table else None
        return FromRedis(contents, projected, _in_force(overlay, at_ms))

    async def generation(self) -> Generation | None:
        """The generation that clients find; None where there is no table for them."""
        [data] = await self._reader.ask(("HGET", self._keys.routes, MANIFEST_FIELD))
        return decode_manifest(data).generation if data is not None else None

    async def demand(self) -> tuple[DemandRow, ...]:
        """What clients have reported, alone."""
        [reply] = await self._reader.ask(("HGETALL", self._keys.table(DEMAND)))
        unpacked = (unpacked_row(DEMAND, data) for data in _fields(reply).values())
        rows = (packed.row for packed in unpacked if packed is not None)
        return tuple(row for row in rows if isinstance(row, DemandRow))


def _fields(reply: list[Any]) -> dict[bytes, bytes]:
    """A hash as the protocol sends it: names and values in turn."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _in_force(data: bytes | None, at_ms: int) -> Overlay | None:
    if not data:
        return None
    try:
        overlay = peek(data)
    except OverlayError:
        return None
    return overlay if overlay.expires_ms > at_ms and overlay.exclude else None


def _projected(fields: Mapping[bytes, bytes]) -> RouteTable | None:
    """The table that these fields hold for clients, or None. Raises TableError."""
    raw = fields.get(MANIFEST_FIELD.encode())
    if raw is None:
        return None
    manifest = decode_manifest(raw)
    parts = {
        name: decode_slice(fields[slice_field(name).encode()], checksum)
        for name, checksum in sorted(manifest.slices.items())
        if slice_field(name).encode() in fields
    }
    return from_slices(manifest.generation, manifest.made_ms, parts)
