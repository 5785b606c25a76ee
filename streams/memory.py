"""The live tables in a dict, for simulation and for rebuilding. Same contract as in Redis, same tests."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from streams.rows import DemandRow, Progress, Row
from streams.store import (
    CAPACITY,
    DEMAND,
    HEALTH,
    OLDER_COPY,
    STATEMENTS,
    AnyRow,
    Contents,
    TablesLostError,
    Write,
    progress_field,
)


class MemoryState:
    """What several ``MemoryTables`` share, as several processes share one Redis."""

    def __init__(self) -> None:
        self.run: str | None = None
        self.rows: dict[str, dict[str, AnyRow]] = {}
        self.progress: dict[str, Progress] = {}
        self.notes: dict[str, bytes] = {}
        self.marks: dict[int, int] = {}  # counts what each process has written
        self.processes = 0
        self.hints = 0  # material writes so far

    def clear(self) -> None:
        """Loses everything, as a Redis without persistence does when it restarts."""
        self.run = None
        self.rows.clear()
        self.progress.clear()
        self.notes.clear()
        self.marks.clear()


class MemoryTables:
    """``streams.store.Tables`` over a ``MemoryState``."""

    def __init__(self, state: MemoryState | None = None) -> None:
        self.state = state or MemoryState()
        self.state.processes += 1
        self._process = self.state.processes
        self._run: str | None = None  # the one that this process has joined
        self._left: list[str] = []
        self._mark = 0

    async def read(self) -> Contents:
        """See ``Tables``."""
        return Contents(
            reports=self._plain(HEALTH),
            statements=self._plain(STATEMENTS),
            capacities=self._plain(CAPACITY),
            demand=tuple(row for row in self._sorted(DEMAND) if isinstance(row, DemandRow)),
            progress=tuple(row for _, row in sorted(self.state.progress.items())),
            run=self.state.run,
        )

    async def renew(self) -> Contents:
        """See ``Tables``: here reading costs nothing."""
        return await self.read()

    async def load(self, table: str, fields: Sequence[str]) -> dict[str, AnyRow]:
        """See ``Tables``."""
        rows = self.state.rows.get(table, {})
        return {field: rows[field] for field in fields if field in rows}

    async def size(self, table: str) -> int:
        """See ``Tables``."""
        return len(self.state.rows.get(table, {}))

    async def put(
        self, writes: Sequence[Write], _on_shown: Callable[[], object] = lambda: None, /
    ) -> list[bool]:
        """See ``Tables``: here a write takes no time, so nothing is shown before."""
        self._check_run()
        answers = await self.restore(writes)
        self._count(sum(answers))
        pairs = zip(answers, writes, strict=True)
        self.state.hints += sum(accepted and write.material for accepted, write in pairs)
        return answers

    async def restore(self, writes: Sequence[Write]) -> list[bool]:
        """See ``Tables``."""
        return [self._compare_and_set(write) for write in writes]

    async def put_progress(self, rows: Iterable[Progress]) -> None:
        """See ``Tables``."""
        self._check_run()
        for row in rows:
            self.state.progress[progress_field(row.topic, row.partition)] = row
        self._count(1)

    async def notes(self) -> dict[str, bytes]:
        """See ``Tables``."""
        return dict(self.state.notes)

    async def change_notes(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``Tables``."""
        for name, data in changes.items():
            if data is None:
                self.state.notes.pop(name, None)
            else:
                self.state.notes[name] = data

    async def run(self) -> str | None:
        """See ``Tables``."""
        return self.state.run

    async def join(self, run: str) -> bool:
        """See ``Tables``."""
        if self.state.run != run:
            return False
        if run in self._left:
            self.state.run = None
            return False
        self._enter(run)
        return True

    async def establish(self, run: str) -> str:
        """See ``Tables``."""
        self.state.run = self.state.run or run
        self._enter(self.state.run)
        return self.state.run

    def _enter(self, run: str) -> None:
        if self._run == run:
            return
        if self._run is not None:
            self._left.append(self._run)
        self._run, self._mark = run, 0

    def _check_run(self) -> None:
        if self._run is None or self._run != self.state.run:
            raise TablesLostError(f"this process joined run {self._run}, the tables are of {self.state.run}")
        if self.state.marks.get(self._process, 0) < self._mark:
            self._left.append(self._run)
            self._run, self._mark, self.state.run = None, 0, None
            raise TablesLostError(OLDER_COPY)

    def _count(self, writes: int) -> None:
        self._mark = self.state.marks[self._process] = self.state.marks.get(self._process, 0) + writes

    def _compare_and_set(self, write: Write) -> bool:
        table = self.state.rows.setdefault(write.table, {})
        row = table.get(write.field)
        if (row.position if row else None) != write.expected:
            return False
        table[write.field] = write.row
        return True

    def _sorted(self, table: str) -> list[AnyRow]:
        return [row for _, row in sorted(self.state.rows.get(table, {}).items())]

    def _plain(self, table: str) -> tuple[Row, ...]:
        return tuple(row for row in self._sorted(table) if isinstance(row, Row))
