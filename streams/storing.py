"""Events into rows: load what is held, fold, compare and set, and again for those that lost a race."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from streams.demand import DemandFold
from streams.fold import Refused, fold, is_material
from streams.rows import DemandRow, Position, Row
from streams.store import DEMAND, Tables, Write, demand_field, field_of
from tieline.events import Capacity, Demand, Report, Statement

RACES_MAX = 50

Count = Callable[[str], None]


class RaceError(RuntimeError):
    """Another writer was faster too many times in a row: try again later."""


class RowItem(NamedTuple):
    """One event for a row, with where and when Kafka has it."""

    event: Report | Statement | Capacity
    position: Position
    append_ms: int


class DemandItem(NamedTuple):
    """One client's report, with where and when Kafka has it."""

    event: Demand
    position: Position
    append_ms: int


class Storer(Protocol):
    """Stores events of one kind in the tables."""

    async def store(self, items: Sequence[RowItem | DemandItem]) -> bool:
        """Returns when all are stored or proven to change nothing; says whether anything material was.

        Raises what the tables raise; then it may be called again with the same items.
        """
        ...

    def forget(self) -> None:
        """The tables are others now: nothing that is remembered of them holds."""
        ...


class RowStorer:
    """Reports, statements and capacity: one write a field, however many of its events are in a batch."""

    def __init__(self, tables: Tables, count: Count) -> None:
        self._tables = tables
        self._count = count

    async def store(self, items: Sequence[RowItem | DemandItem]) -> bool:
        """See ``Storer``."""
        by_field: dict[tuple[str, str], list[RowItem]] = {}
        for item in items:
            if isinstance(item, RowItem):
                by_field.setdefault(field_of(item.event), []).append(item)
        material = False
        for _ in range(RACES_MAX):
            writes = await self._folded(by_field)
            if not writes:
                return material
            taken = await self._tables.put(writes)
            for write, ok in zip(writes, taken, strict=True):
                if ok:
                    material |= write.material
                    by_field.pop((write.table, write.field))
        raise RaceError("rows keep being written by another process")

    def forget(self) -> None:
        """See ``Storer``: rows are remembered by the tables themselves."""

    async def _folded(self, by_field: dict[tuple[str, str], list[RowItem]]) -> list[Write]:
        held: dict[tuple[str, str], Row] = {}
        for table in sorted({table for table, _ in by_field}):
            loaded = await self._tables.load(table, [field for name, field in by_field if name == table])
            held |= {(table, field): row for field, row in loaded.items() if isinstance(row, Row)}
        writes = []
        for (table, field), items in list(by_field.items()):
            before = row = held.get((table, field))
            material = False
            for item in items:
                folded = fold(row, item.event, item.position, item.append_ms)
                if isinstance(folded, Refused):
                    self._count(folded)
                else:
                    material |= is_material(row, folded)
                    row = folded
            if row is None or row is before:
                del by_field[table, field]
            else:
                writes.append(Write(table, field, before.position if before else None, row, material))
        return writes


class DemandStorer:
    """Clients' reports: one write a partition. ``known_pools`` is asked each time: the policy may change."""

    def __init__(self, tables: Tables, count: Count, known_pools: Callable[[], frozenset[str]]) -> None:
        self._tables = tables
        self._count = count
        self._known_pools = known_pools
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
            demand = self._folds.pop(partition, None)
            if demand is None:
                held = (await self._tables.load(DEMAND, [field])).get(field)
                demand = DemandFold(held if isinstance(held, DemandRow) else None)
            before = demand.position
            material = self._add(demand, items)
            if demand.position != before:
                # While the outcome is unknown the sums are kept out of the way: a failure drops them.
                row = demand.row()
                [taken] = await self._tables.put([Write(DEMAND, field, before, row, material)])
                if not taken:
                    continue
            self._folds[partition] = demand
            return material
        raise RaceError(f"partition {partition} of the demand table keeps being written by another process")

    def _add(self, demand: DemandFold, items: Sequence[DemandItem]) -> bool:
        material = False
        known = self._known_pools()
        for item in items:
            added = demand.add(item.event, item.position, item.append_ms, known)
            if isinstance(added, Refused):
                self._count(added)
            else:
                material |= added
        return material
