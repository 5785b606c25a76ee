"""What the live tables offer, whatever holds them: values, fields, packing, and the protocol ``Tables``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from streams.rows import DemandRow, Position, Progress, Row, RowEvent
from tieline.cloudevents import EVENT_BY_TYPE
from tieline.events import Report, Statement
from tieline.unknown_values import replace_unknown

HEALTH = "health"
STATEMENTS = "statements"
CAPACITY = "capacity"
DEMAND = "demand"
PROGRESS = "progress"
OLDER_COPY = "the tables were taken back to an older copy, which lacks what was written since"
NOTES = "notes"

AnyRow: TypeAlias = Row | DemandRow


class TablesLostError(RuntimeError):
    """The tables are not those that this process has joined (emptied, or rebuilt by another): join again."""


class Contents(NamedTuple):
    """One reading of all tables, each sorted by its field.

    ``run`` names the history of these tables; None: they are empty or being rebuilt, and prove nothing.
    """

    reports: tuple[Row, ...] = ()
    statements: tuple[Row, ...] = ()
    capacities: tuple[Row, ...] = ()
    demand: tuple[DemandRow, ...] = ()
    progress: tuple[Progress, ...] = ()
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One compare-and-set: ``row`` goes into ``table[field]`` if the row there is from ``expected``.

    ``material``: the change could alter a decision, so readers are woken.
    """

    table: str
    field: str
    expected: Position | None  # None: nothing is there
    row: AnyRow
    material: bool


class Tables(Protocol):
    """The live tables. Usually one process writes a field; a second one is noticed and does no harm."""

    async def read(self) -> Contents:
        """Everything, as of one moment."""
        ...

    async def renew(self) -> Contents:
        """The last reading, with every row renewed for which readers were woken since then.

        Other rows, and progress, are as they were: what changed there could change no decision. A reader that
        relies on this must still ``read`` everything now and then, because hints may be lost.
        """
        ...

    async def load(self, table: str, fields: Sequence[str]) -> dict[str, AnyRow]:
        """The rows of those fields that exist. May answer from what this process wrote or read."""
        ...

    async def size(self, table: str) -> int:
        """How many rows the table has."""
        ...

    async def put(
        self, writes: Sequence[Write], on_shown: Callable[[], object] = lambda: None, /
    ) -> list[bool]:
        """Returns for each write, in order, whether it was accepted. A refused field is loaded anew later.

        Wakes readers once for each material write that was accepted. Raises ``TablesLostError`` if the run of
        the tables is not the one that this process has joined, or they have become an older copy of
        themselves, as after a restore from a backup or a failover to a replica that lagged. What was written
        before that was seen is in no run.

        Tables in which a write takes its time may show material rows to ``renew`` of this process while they
        are written, and call ``on_shown`` then. A row that is not accepted after that is read again by the
        next ``renew``.
        """
        ...

    async def put_progress(self, rows: Iterable[Progress]) -> None:
        """Stores how far partitions are consumed; the last writer wins.

        Raises ``TablesLostError`` as ``put`` does. An older copy has no run any more.
        """
        ...

    async def notes(self) -> dict[str, bytes]:
        """All notes, by name. They are few and small, and of no run: a rebuild doesn't make them untrue."""
        ...

    async def change_notes(self, changes: Mapping[str, bytes | None]) -> None:
        """Stores these notes, and removes those with None, all or none of them."""
        ...

    async def run(self) -> str | None:
        """The run of the tables as they are, or None if they are empty."""
        ...

    async def join(self, run: str) -> bool:
        """Writes go to ``run`` from now on, if that is the one in force; cached rows are forgotten.

        Returns whether it is. A run that this process has left for a later one is in force again only in an
        older copy of the tables: it is ended, and not joined."""
        ...

    async def establish(self, run: str) -> str:
        """Makes ``run`` the tables' run if they have none. Joins the one in force, and returns it."""
        ...

    async def restore(self, writes: Sequence[Write]) -> list[bool]:
        """``put`` for a rebuild: before a run is established, and without waking anybody."""
        ...


def field_of(event: RowEvent) -> tuple[str, str]:
    """(table, field) of the row that an event belongs to: one for each (source, region), and kind of
    statement."""
    place = f"{event.provider}/{event.region}/{event.source}"
    match event:
        case Report():
            return HEALTH, place
        case Statement():
            return STATEMENTS, f"{place}/{event.kind}"
        case _:
            return CAPACITY, place


def progress_field(topic: str, partition: int) -> str:
    """Sorts by topic, then by partition as a number."""
    return f"{topic}/{partition:06d}"


def demand_field(partition: int) -> str:
    """Sorts by partition as a number."""
    return f"{partition:06d}"


def head(position: Position | None) -> bytes:
    """A position as text. The stored script compares it as text, because Lua's numbers are doubles and would
    round offsets above 2^53."""
    if position is None:
        return b""
    return f"{position.topic_id}|{position.partition}|{position.offset}\n".encode()


_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(Row)
_demand = msgspec.msgpack.Decoder(DemandRow)
_progress = msgspec.msgpack.Decoder(Progress)
_EVENT_BY_TAG = {kind.__struct_config__.tag: kind for kind in EVENT_BY_TYPE.values()}


def pack(row: AnyRow) -> bytes:
    """A row as stored: its position as text, a newline, then msgpack."""
    return head(row.position) + _encode(row)


def unpack(table: str, data: bytes) -> AnyRow:
    """The reverse of ``pack``. A value that only a newer version knows is taken for the one that is safe
    (``tieline.unknown_values``). Raises ``msgspec.MsgspecError`` for what can't be read even so."""
    body = memoryview(data)[data.index(b"\n") + 1 :]
    if table == DEMAND:
        return _demand.decode(body)
    try:
        return _row.decode(body)
    except msgspec.ValidationError:
        return _row.decode(_with_known_values(body))


def _with_known_values(body: memoryview) -> bytes:
    fields = msgspec.msgpack.decode(body)
    event = fields[0] if isinstance(fields, list) and fields else None
    kind = _EVENT_BY_TAG.get(event.get("type")) if isinstance(event, dict) else None
    if kind is not None:
        replace_unknown(kind, event)
    return _encode(fields)


def pack_progress(row: Progress) -> bytes:
    """A progress row as stored."""
    return _encode(row)


def unpack_progress(data: bytes) -> Progress:
    """The reverse of ``pack_progress``."""
    return _progress.decode(data)
