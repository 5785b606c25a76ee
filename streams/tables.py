"""The live tables in Redis: packed rows in one hash a table, each written by one stored compare-and-set.

Every key of an installation shares one hash tag. Redis is a projection: a marker names the run of the tables,
and a Redis that lost its data has no marker, so nothing is written into it until the tables are rebuilt.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from streams.reading import NAMES, PackedRow, Reading, RowKey, unpacked_row
from streams.rows import Progress
from streams.store import (
    CAPACITY,
    DEMAND,
    HEALTH,
    NOTES,
    OLDER_COPY,
    PROGRESS,
    STATEMENTS,
    AnyRow,
    Contents,
    TablesLostError,
    Write,
    head,
    pack,
    pack_progress,
    progress_field,
    unpack,
)
from tieline.keys import Keys

ROWS_CACHED_MAX = 20_000
TURNS_FOR_READERS = 10  # of the event loop; a publication has been sent by then
# First elements of the stored scripts' answers.
ACCEPTED = 1
LOST = -1
OLDER = -2
RUNS_REMEMBERED_MAX = 1_000
UNREADABLE_NAMED_MAX = 5
MARK_KEPT_S = 24 * 3_600  # of a process that writes no more
_LUA = files("streams") / "lua"
log = structlog.get_logger(__name__)


class RedisTables:
    """``streams.store.Tables`` in Redis. ``redis`` must not decode responses; the caller closes it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys
        self._writer = secrets.token_hex(8)  # named in each hint, so that a process can tell its own
        self._marker = keys.table("run")
        self._mark_key = keys.table(f"mark:{self._writer}")
        self._run = ""  # the one that this process has joined
        self._left: OrderedDict[str, None] = OrderedDict()  # those that it had joined before
        self._mark = 0  # the highest that its writes into this run were answered with
        self._cache: OrderedDict[RowKey, AnyRow] = OrderedDict()
        self._reading = Reading()
        self._cas = redis.register_script((_LUA / "cas.lua").read_text())
        self._progress = redis.register_script((_LUA / "progress.lua").read_text())
        self._leave = redis.register_script((_LUA / "leave.lua").read_text())

    async def read(self) -> Contents:
        """See ``Tables``: in one transaction. Rows whose bytes are unchanged aren't decoded."""
        wakes = self._reading.begin()
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._marker)
                for name in NAMES:
                    pipe.hgetall(self._keys.table(name))
                marker, *tables = await pipe.execute()
        except BaseException:
            self._reading.fail(wakes)
            raise
        passed_over = self._reading.unreadable
        contents = self._reading.finish(marker.decode() if marker else None, tables)
        if (unreadable := self._reading.unreadable) and unreadable != passed_over:
            log.error(
                "rows of another version of Tieline are passed over: install it here as well",
                rows=[f"{key.table} {key.field}" for key in unreadable[:UNREADABLE_NAMED_MAX]],
                count=len(unreadable),
            )
        return contents

    async def renew(self) -> Contents:
        """See ``Tables``: what this process wrote itself need not be read from Redis."""
        if self._reading.contents is None:
            return await self.read()
        wakes = self._reading.begin()
        unread = [key for key, row in wakes.items() if row is None]
        if unread:
            try:
                pairs = zip(unread, await self._values(unread), strict=True)
                unpacked = {key: unpacked_row(key.table, data) for key, data in pairs if data is not None}
            except BaseException:
                self._reading.fail(wakes)
                raise
            wakes |= {key: row for key, row in unpacked.items() if row is not None}
        return self._reading.renew(wakes)

    async def _values(self, keys: Sequence[RowKey]) -> list[bytes | None]:
        """The stored rows, None for those that don't exist. One alone needs no pipeline, which would take
        longer."""
        if len(keys) == 1:
            return [await self._redis.hget(self._keys.table(keys[0].table), keys[0].field)]
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(self._keys.table(key.table), key.field)
            values: list[bytes | None] = await pipe.execute()
        return values

    def note_hint(self, hint: bytes) -> bool:
        """Takes in a message of the hint channel. Returns whether it tells of another process's write, and so
        of something to ``renew``."""
        writer, _, key = hint.decode().partition(" ")
        if writer == self._writer:
            return False
        table, _, field = key.partition(" ")
        self._reading.note_foreign_write(RowKey(table, field))
        return True

    async def load(self, table: str, fields: Sequence[str]) -> dict[str, AnyRow]:
        """See ``Tables``: from the cache, the rest in one round trip."""
        keys = [RowKey(table, field) for field in fields]
        missing = [key for key in keys if key not in self._cache]
        if missing:
            values = await self._redis.hmget(self._keys.table(table), [key.field for key in missing])
            for key, value in zip(missing, values, strict=True):
                if value is not None:
                    self._remember(key, unpack(table, value))
        rows = ((key.field, self._cache.get(key)) for key in keys)
        return {field: row for field, row in rows if row is not None}

    async def size(self, table: str) -> int:
        """See ``Tables``."""
        rows: int = await self._redis.hlen(self._keys.table(table))
        return rows

    async def put(
        self, writes: Sequence[Write], on_shown: Callable[[], object] = lambda: None, /
    ) -> list[bool]:
        """See ``Tables``: all in one round trip, each atomic by itself."""
        if not self._run:
            raise TablesLostError("this process has joined no run of the tables")
        values = [pack(write.row) for write in writes]
        shown = self._show(writes, values)
        stored: set[RowKey] = set()
        try:
            if shown:
                on_shown()
                # Readers go first: they decide and publish while this waits, and Redis is written while Kafka
                # takes the publication.
                for _ in range(TURNS_FOR_READERS):
                    await asyncio.sleep(0)
            accepted = await self._put(writes, values, self._run)
            stored = {key_of(write) for write, is_stored in zip(writes, accepted, strict=True) if is_stored}
        finally:
            for key in shown - stored:
                self._reading.reread(key)
        return accepted

    def _show(self, writes: Sequence[Write], values: Sequence[bytes]) -> set[RowKey]:
        """Lets readers of this process have the material rows at once. Returns which of them they have."""
        return {
            key_of(write)
            for write, data in zip(writes, values, strict=True)
            if write.material
            and self._reading.show(key_of(write), PackedRow(data, write.row), write.expected)
        }

    async def restore(self, writes: Sequence[Write]) -> list[bool]:
        """See ``Tables``."""
        return await self._put(writes, [pack(write.row) for write in writes], "")

    async def put_progress(self, rows: Iterable[Progress]) -> None:
        """See ``Tables``."""
        arguments: list[bytes | str | int] = [self._run or "none", self._mark, MARK_KEPT_S]
        for row in rows:
            arguments += [progress_field(row.topic, row.partition), pack_progress(row)]
        keys = [self._keys.table(PROGRESS), self._marker, self._mark_key]
        answer: int = await self._progress(keys=keys, args=arguments)
        if answer == LOST:
            raise TablesLostError(f"the tables are not of run {self._run}")
        if answer == OLDER:
            raise self._older_copy()
        self._mark = max(self._mark, answer)

    def _older_copy(self) -> TablesLostError:
        """The run that this process had joined is over, because the tables went back to an older copy."""
        self._leave_behind(self._run)
        self._run, self._mark = "", 0
        return TablesLostError(OLDER_COPY)

    async def notes(self) -> dict[str, bytes]:
        """See ``Tables``."""
        notes: dict[bytes, bytes] = await self._redis.hgetall(self._keys.table(NOTES))
        return {name.decode(): data for name, data in notes.items()}

    async def change_notes(self, changes: Mapping[str, bytes | None]) -> None:
        """See ``Tables``."""
        stored = {name: data for name, data in changes.items() if data is not None}
        removed = [name for name, data in changes.items() if data is None]
        if not changes:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            if stored:
                pipe.hset(self._keys.table(NOTES), mapping=stored)
            if removed:
                pipe.hdel(self._keys.table(NOTES), *removed)
            await pipe.execute()

    async def run(self) -> str | None:
        """See ``Tables``."""
        marker: bytes | None = await self._redis.get(self._marker)
        return marker.decode() if marker else None

    async def join(self, run: str) -> bool:
        """See ``Tables``."""
        if await self.run() != run:
            return False
        if run in self._left:
            await self._leave(keys=[self._marker], args=[run])
            return False
        if self._run != run:
            self._leave_behind(self._run)
            self._run, self._mark = run, 0
        self._cache.clear()
        return True

    def _leave_behind(self, run: str) -> None:
        """Remembers a run that is left for a later one; empty for none."""
        if run:
            self._left[run] = None
            while len(self._left) > RUNS_REMEMBERED_MAX:
                self._left.popitem(last=False)

    async def establish(self, run: str) -> str:
        """See ``Tables``."""
        await self._redis.set(self._marker, run, nx=True)
        in_force = await self.run()
        if in_force is None or not await self.join(in_force):
            raise TablesLostError("the tables were emptied again while they were established")
        return in_force

    async def empty(self) -> None:
        """Ends the run of the tables and removes their rows; progress and notes stay."""
        rows = (self._keys.table(name) for name in (HEALTH, STATEMENTS, CAPACITY, DEMAND))
        await self._redis.delete(self._marker, *rows)
        self._cache.clear()

    async def _put(self, writes: Sequence[Write], values: Sequence[bytes], run: str) -> list[bool]:
        """``run`` empty: whatever run the tables are of, and without waking anybody."""
        try:
            answers = await self._run_script(writes, values, run)
        except BaseException:
            # Some of them may have been executed: only Redis knows, so ask it next time.
            self._forget(writes)
            raise
        accepted = []
        for write, data, answer in zip(writes, values, answers, strict=True):
            if answer[0] == LOST:
                self._forget(writes)
                raise TablesLostError(f"the tables are not of run {run}")
            if answer[0] == OLDER:
                self._forget(writes)
                raise self._older_copy()
            accepted.append(answer[0] == ACCEPTED)
            key = key_of(write)
            if answer[0] == ACCEPTED:
                self._mark = max(self._mark, answer[1])
                self._remember(key, write.row)
                self._reading.note_own_write(key, data, write.row, wakes=write.material and run != "")
            elif answer[1]:
                self._remember(key, unpack(write.table, answer[1]))
            else:
                self._cache.pop(key, None)
        return accepted

    async def _run_script(self, writes: Sequence[Write], values: Sequence[bytes], run: str) -> list[Any]:
        """One EVALSHA for each write, all in one round trip. A Redis that forgot the script gets it again;
        writes that were executed before it forgot are then refused, because their rows are there already."""
        try:
            return await self._send(writes, values, run)
        except NoScriptError:
            await self._redis.script_load(self._cas.script)
            return await self._send(writes, values, run)

    async def _send(self, writes: Sequence[Write], values: Sequence[bytes], run: str) -> list[Any]:
        calls = [self._call(write, data, run) for write, data in zip(writes, values, strict=True)]
        if len(calls) == 1:  # a pipeline would cost an event that comes alone a quarter more time
            return [await self._redis.evalsha(*calls[0])]
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(*call)
            answers: list[Any] = await pipe.execute()
        return answers

    def _call(self, write: Write, data: bytes, run: str) -> tuple[Any, ...]:
        """The arguments of the compare-and-set script, its hash and the number of its keys first."""
        hint = f"{self._writer} {write.table} {write.field}" if write.material and run else ""
        keys = (self._keys.table(write.table), self._marker, self._mark_key)
        arguments = (run, write.field, head(write.expected), data, self._keys.tables_hint, hint)
        return (self._cas.sha, len(keys), *keys, *arguments, self._mark, MARK_KEPT_S)

    def _remember(self, key: RowKey, row: AnyRow) -> None:
        self._cache[key] = row
        self._cache.move_to_end(key)
        while len(self._cache) > ROWS_CACHED_MAX:
            self._cache.popitem(last=False)

    def _forget(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._cache.pop(key_of(write), None)


def key_of(write: Write) -> RowKey:
    """Which row a write is about."""
    return RowKey(write.table, write.field)
