"""Events into rows: load what is stored, fold, compare and set, and again for those that lost a race."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

import structlog

from streams.demand import DemandFold
from streams.fold import Refusal, fold
from streams.material import is_material
from streams.rows import DemandRow, Position, Row, RowEvent
from streams.store import DEMAND, Tables, Write, demand_field, field_of
from tieline.events import Demand
from tieline.registration import Registry

OnShown: TypeAlias = Callable[[int], object]

RACES_MAX = 50
ROWS_MAX = 20_000  # of one table: a source and a region each
log = structlog.get_logger(__name__)


class RaceError(RuntimeError):
    """Another writer was faster too many times in a row: try again later."""


class RowItem(NamedTuple):
    """One event for a row, with its place and time in Kafka."""

    event: RowEvent
    position: Position
    append_ms: int


class DemandItem(NamedTuple):
    """One client's report, with its place and time in Kafka."""

    event: Demand
    position: Position
    append_ms: int


class Storer(Protocol):
    """Stores events of one kind in the tables."""

    async def store(self, items: Sequence[RowItem | DemandItem]) -> bool:
        """Returns when all are stored or proven to change nothing; says whether anything material was.

        Raises what the tables raise, or ``RaceError``; then it may be called again with the same items.
        """
        ...

    def forget(self) -> None:
        """The tables are others now: nothing that is remembered of them is true any more."""
        ...


class RowStorer:
    """Reports, statements and capacity: one write for each field, however many of its events are in a batch.
    A table that has ``ROWS_MAX`` rows takes no new ones; those that it has go on.

    ``counts`` takes the refusals, by name. ``on_shown`` is told when readers of this process have a row that
    could change a decision and that is still being written, with the append time of the oldest record.
    """

    def __init__(
        self, tables: Tables, counts: Counter[str], on_shown: OnShown = lambda _append_ms: None
    ) -> None:
        self._tables = tables
        self._counts = counts
        self._on_shown = on_shown

    async def store(self, items: Sequence[RowItem | DemandItem]) -> bool:
        """See ``Storer``."""
        by_field: dict[tuple[str, str], list[RowItem]] = {}
        for item in items:
            if isinstance(item, RowItem):
                by_field.setdefault(field_of(item.event), []).append(item)
        material = False
        for _ in range(RACES_MAX):
            writes = await self._writes(by_field)
            if not writes:
                return material
            append_ms = min(item.append_ms for of_field in by_field.values() for item in of_field)
            answers = await self._tables.put(writes, partial(self._on_shown, append_ms))
            for write, accepted in zip(writes, answers, strict=True):
                material |= write.material  # also if it was refused, as readers may have seen it
                if accepted:
                    by_field.pop((write.table, write.field))
        raise RaceError("rows keep being written by another process")

    def forget(self) -> None:
        """See ``Storer``: rows are remembered by the tables themselves."""

    async def _writes(self, by_field: dict[tuple[str, str], list[RowItem]]) -> list[Write]:
        """What to write. Fields whose events change nothing are removed from ``by_field``."""
        stored: dict[tuple[str, str], Row] = {}
        new: dict[str, set[str]] = {}
        for table in sorted({table for table, _ in by_field}):
            rows = await self._tables.load(table, [field for name, field in by_field if name == table])
            stored |= {(table, field): row for field, row in rows.items() if isinstance(row, Row)}
            new[table] = {field for name, field in by_field if name == table} - rows.keys()
        room = await self._room(new)
        writes = []
        for (table, field), items in list(by_field.items()):
            before = stored.get((table, field))
            row, material = self._fold(before, items)
            if before is None and row is not None:
                room[table] -= 1
                if room[table] < 0:
                    self._refuse(table, len(items))
                    row = None
            if row is None or row is before:
                del by_field[table, field]
                continue
            expected = before.position if before else None
            writes.append(Write(table, field, expected, row=row, material=material))
        return writes

    async def _room(self, rows: dict[str, set[str]]) -> dict[str, int]:
        """How many rows may begin, by table; only of tables for which there are new ones."""
        return {
            table: ROWS_MAX - await self._tables.size(table) for table, new in sorted(rows.items()) if new
        }

    def _refuse(self, table: str, events: int) -> None:
        """Sources are registered, but a source may name any region, and rows stay: without a bound one that
        makes up regions would fill Redis."""
        self._counts["no_room"] += events
        log.error("no_room_for_a_row", table=table, rows_max=ROWS_MAX)

    def _fold(self, row: Row | None, items: Sequence[RowItem]) -> tuple[Row | None, bool]:
        """The row after all events of one field, and whether any of them was material."""
        material = False
        for item in items:
            after = fold(row, item.event, item.position, item.append_ms)
            if isinstance(after, Refusal):
                self._counts[after] += 1
            else:
                material |= is_material(row, after)
                row = after
        return row, material


class DemandStorer:
    """Clients' reports: one write for each partition.

    ``registry`` gives what the policy names, and is called each time because the policy may change.
    ``counts`` and ``on_shown`` as in ``RowStorer``.
    """

    def __init__(
        self,
        tables: Tables,
        counts: Counter[str],
        registry: Callable[[], Registry],
        *,
        on_shown: OnShown = lambda _append_ms: None,
    ) -> None:
        self._tables = tables
        self._counts = counts
        self._on_shown = on_shown
        self._registry = registry
        self._folds: dict[int, DemandFold] = {}

    async def store(self, items: Sequence[RowItem | DemandItem]) -> bool:
        """See ``Storer``."""
        by_partition: dict[int, list[DemandItem]] = {}
        for item in items:
            if isinstance(item, DemandItem):
                by_partition.setdefault(item.position.partition, []).append(item)
        material = False
        for partition in sorted(by_partition):
            material |= await self._store(partition, by_partition[partition])
        return material

    def forget(self) -> None:
        """See ``Storer``."""
        self._folds.clear()

    async def _store(self, partition: int, items: Sequence[DemandItem]) -> bool:
        field = demand_field(partition)
        for _ in range(RACES_MAX):
            # While the outcome of the write is unknown the sums are not in ``_folds``: a failure drops them,
            # and the next try starts from what is really stored.
            sums = self._folds.pop(partition, None)
            if sums is None:
                row = (await self._tables.load(DEMAND, [field])).get(field)
                sums = DemandFold(row if isinstance(row, DemandRow) else None)
            before = sums.position
            material = self._add(sums, items)
            if sums.position != before:
                write = Write(DEMAND, field, before, row=sums.row(), material=material)
                append_ms = min(item.append_ms for item in items)
                [accepted] = await self._tables.put([write], partial(self._on_shown, append_ms))
                if not accepted:
                    continue
            self._folds[partition] = sums
            return material
        raise RaceError(f"partition {partition} of the demand table keeps being written by another process")

    def _add(self, sums: DemandFold, items: Sequence[DemandItem]) -> bool:
        material = False
        registry = self._registry()
        for item in items:
            outcome = sums.add(item.event, item.position, item.append_ms, registry)
            if isinstance(outcome, Refusal):
                self._counts[outcome] += 1
            else:
                material |= outcome
        return material
