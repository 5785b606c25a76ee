"""One suite for every implementation of the live tables: in memory, in a real Redis, in the simulator's."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any, cast

import pytest

from lab.simulated.network import Network
from lab.simulated.redis import SimRedis
from lab.simulated.redis_client import SimRedisClient
from streams.fold import fold
from streams.memory import MemoryState, MemoryTables
from streams.rows import DemandRow, Position, Row
from streams.store import CAPACITY, DEMAND, HEALTH, Contents, TablesLostError, Write, field_of
from streams.tables import RedisTables
from tests.contract.older_copies import OlderCopies, progress, row, write
from tests.unit.streams.made import T0_MS, at, capacity, report
from tests.waiting import until
from tieline.keys import Keys
from tieline.redis_client import connect


class TablesContract(OlderCopies):
    """What holds of any tables. ``tables`` and ``other`` stand for two processes over the same state."""

    @abstractmethod
    async def hints(self) -> int:
        """How many material writes were announced so far."""

    async def test_written_rows_are_read_sorted_by_field(self) -> None:
        """Every kind of row comes back as it was written, sorted by its field."""
        await self.start()
        rows = [row(1, region=region) for region in ("us", "eu", "jp")]
        limit = fold(None, capacity(3), at(1), T0_MS)
        assert isinstance(limit, Row)
        demand = DemandRow(at(5), ())
        writes = [write(new, None) for new in rows]
        writes += [
            Write(*field_of(limit.event), None, row=limit, material=False),
            Write(DEMAND, "000000", None, row=demand, material=False),
        ]
        assert await self.tables.put(writes) == [True] * 5
        contents = await self.other.read()
        assert [row.event.region for row in contents.reports] == ["eu", "jp", "us"]
        assert (contents.capacities, contents.demand, contents.statements) == ((limit,), (demand,), ())
        assert contents.run == "run-1"
        assert await self.tables.read() == contents

    async def test_notes_are_kept_by_name_whatever_the_run(self) -> None:
        """Both processes see them; None removes one, and an emptied Redis has none."""
        assert await self.tables.notes() == {}
        await self.tables.change_notes({"a": b"1", "b": b"2"})
        await self.other.change_notes({"a": None, "b": b"3", "missing": None})
        await self.other.change_notes({})
        assert await self.tables.notes() == {"b": b"3"}
        await self.start()
        assert await self.tables.notes() == {"b": b"3"}
        await self.empty()
        assert await self.tables.notes() == {}

    async def test_a_write_based_on_another_row_is_refused(self) -> None:
        """Of two writers that folded on the same row only the first is accepted."""
        await self.start()
        assert await self.tables.put([write(row(1), None)]) == [True]
        assert await self.other.put([write(row(2), None)]) == [False]
        assert await self.other.put([write(row(2), at(1))]) == [True]
        assert await self.tables.put([write(row(3), at(1))]) == [False]
        assert (await self.tables.load(HEALTH, ["azure/eu/probe-1"])) == {"azure/eu/probe-1": row(2)}

    async def test_topic_id_and_partition_are_compared_too(self) -> None:
        """A write based on the same offset of another log is refused."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        for elsewhere in (at(1, partition=1), at(1, topic_id="another"), at(10), at(11)):
            assert await self.other.put([write(row(2), elsewhere)]) == [False]

    async def test_offsets_above_2_to_the_53_are_told_apart(self) -> None:
        """Neighbouring offsets above 2^53, which a double can't tell apart, are different positions."""
        await self.start()
        big = 2**53
        first = fold(None, report(1), at(big + 1), T0_MS)
        assert isinstance(first, Row)
        await self.tables.put([write(first, None)])
        assert await self.tables.put([write(row(2), at(big))]) == [False]
        assert await self.tables.put([write(row(2), at(big + 1))]) == [True]

    async def test_one_refusal_does_not_hold_up_the_others(self) -> None:
        """The answers are in the order of the writes, and each write is decided by itself."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        writes = [write(row(2), None), write(row(1, region="us"), None)]
        assert await self.tables.put(writes) == [False, True]

    async def test_load_gives_what_exists(self) -> None:
        """Fields without a row are absent from what is loaded."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        assert await self.other.load(HEALTH, ["azure/eu/probe-1", "nobody"]) == {"azure/eu/probe-1": row(1)}
        assert await self.other.load(CAPACITY, ["azure/eu/probe-1"]) == {}

    async def test_only_material_writes_that_were_accepted_wake(self) -> None:
        """Each accepted material write is announced once; refused and immaterial ones are not."""
        await self.start()
        await self.tables.put([write(row(1), None, True), write(row(1, region="us"), None)])
        await self.tables.put([write(row(9), None, True)])
        await self.tables.put([write(row(2), at(1), True)])
        assert await until(lambda: self.hints(), what="hints") in (1, 2)
        await until(lambda: self.hint_count_is(2), what="two hints")

    async def hint_count_is(self, expected: int) -> bool:
        """Whether exactly that many were announced."""
        return await self.hints() == expected

    async def test_progress_is_read_sorted_by_topic_and_partition(self) -> None:
        """The last row of each partition is read, sorted by topic and then by number."""
        await self.start()
        rows = [progress(topic, number, next_offset=1) for topic in ("b", "a") for number in (10, 2)]
        await self.tables.put_progress(rows)
        await self.other.put_progress([progress("a", 2, next_offset=2)])
        stored = (await self.tables.read()).progress
        places = [(row.topic, row.partition) for row in stored]
        assert places == [("a", 2), ("a", 10), ("b", 2), ("b", 10)]
        assert stored[0].caught_up
        assert not stored[1].caught_up

    async def test_what_woke_is_renewed(self) -> None:
        """A renewal has every material write since the last reading, and all other rows as they were."""
        await self.start()
        rows = [row(1, region=region) for region in ("eu", "jp", "us")]
        await self.tables.put([write(new, None) for new in rows])
        before = await self.tables.read()
        new = row(2, region="jp")
        await self.tables.put([write(new, at(1), True), write(row(1, region="uk"), None, True)])
        renewed = await self.tables.renew()
        assert renewed.reports == (rows[0], new, row(1, region="uk"), rows[2])
        assert (renewed.run, before.reports) == ("run-1", tuple(rows))
        assert await self.tables.renew() == renewed == await self.tables.read()

    async def test_the_first_renewal_reads_everything(self) -> None:
        """Without an earlier reading a renewal is a reading."""
        await self.start()
        await self.other.put([write(row(1), None)])
        assert (await self.tables.renew()).reports == (row(1),)

    async def test_nothing_is_written_before_a_run_is_joined(self) -> None:
        """A process that has joined no run can't write rows or progress."""
        with pytest.raises(TablesLostError):
            await self.tables.put([write(row(1), None)])
        with pytest.raises(TablesLostError):
            await self.tables.put_progress([])

    async def test_emptied_tables_take_nothing_until_rebuilt(self) -> None:
        """After tables were emptied nothing is accepted, and readers see that they have no run."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.empty()
        with pytest.raises(TablesLostError):
            await self.tables.put([write(row(2), at(1))])
        with pytest.raises(TablesLostError):
            await self.other.put_progress([progress("a", 0)])
        contents = await self.tables.read()
        assert (contents.run, contents.reports, contents.progress) == (None, (), ())

    async def test_a_rebuild_restores_and_then_establishes(self) -> None:
        """Rows come first and the run last; the first of two rebuilders names it; caches are dropped."""
        await self.start()
        await self.tables.put([write(row(5), None)])
        await self.empty()
        assert await self.other.restore([write(row(7), None, True)]) == [True]
        assert await self.tables.restore([write(row(6), None)]) == [False]
        assert await self.other.establish("run-2") == "run-2"
        assert await self.tables.establish("run-3") == "run-2"
        assert await self.tables.load(HEALTH, ["azure/eu/probe-1"]) == {"azure/eu/probe-1": row(7)}
        assert await self.tables.put([write(row(8), at(7))]) == [True]

    async def test_only_the_run_in_force_can_be_joined(self) -> None:
        """Joining any other run is refused."""
        assert await self.tables.run() is None
        assert not await self.tables.join("run-1")
        await self.start()
        assert not await self.tables.join("run-2")


class TestMemoryTables(TablesContract):
    """The tables in a dict keep the contract."""

    @pytest.fixture(autouse=True)
    def both(self) -> None:
        """Two processes over one state."""
        self.state = MemoryState()
        self.tables, self.other = MemoryTables(self.state), MemoryTables(self.state)

    async def hints(self) -> int:
        """See ``TablesContract``: counted by the state."""
        return self.state.hints

    async def empty(self) -> None:
        """See ``TablesContract``."""
        self.state.clear()

    async def copy(self) -> None:
        """See ``TablesContract``."""
        self.saved = deepcopy(vars(self.state))

    async def take_back(self) -> None:
        """See ``TablesContract``."""
        vars(self.state).update(self.saved)


class InRealTime:
    """The running loop, with what the simulated network asks of its own beside."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def at(self, when: float, work: Callable[[], None]) -> None:
        """See ``VirtualLoop``."""
        self._loop.call_at(when, work)


class TestSimulatedRedisTables(TablesContract):
    """The product's own tables keep the contract on the Redis of the simulator, so it does what they need."""

    @pytest.fixture(autouse=True)
    async def both(self) -> AsyncIterator[None]:
        """Two processes over one server, on a loop in real time."""
        loop: Any = InRealTime(asyncio.get_running_loop())
        self.server = SimRedis(Network(loop, "seed"))
        self.keys = Keys()
        self.tables = RedisTables(cast(Any, SimRedisClient(self.server)), self.keys)
        self.other = RedisTables(cast(Any, SimRedisClient(self.server)), self.keys)
        self.heard = 0
        async with SimRedisClient(self.server).pubsub() as self.subscription:
            await self.subscription.subscribe(self.keys.tables_hint)
            yield

    async def hints(self) -> int:
        """See ``TablesContract``: messages on the channel so far."""
        while await self.subscription.get_message(timeout=0.05) is not None:
            self.heard += 1
        return self.heard

    async def empty(self) -> None:
        """See ``TablesContract``."""
        self.server.empty()

    async def copy(self) -> None:
        """See ``TablesContract``."""
        self.saved = deepcopy(self.server.data)

    async def take_back(self) -> None:
        """See ``TablesContract``."""
        self.server.data = deepcopy(self.saved)


@pytest.mark.integration
class TestRedisTables(TablesContract):
    """The tables in a real Valkey keep the contract; hints come by pub/sub."""

    @pytest.fixture(autouse=True)
    async def both(self, redis_url: str, prefix: str) -> AsyncIterator[None]:
        """Two processes with a connection pool each, and a subscriber to the hints."""
        self.keys = Keys(prefix)
        self.redis, second = connect(redis_url, self.keys), connect(redis_url, self.keys)
        self.tables: RedisTables = RedisTables(self.redis, self.keys)
        self.other: RedisTables = RedisTables(second, self.keys)
        self.heard = 0
        async with self.redis.pubsub() as self.subscription:
            await self.subscription.subscribe(self.keys.tables_hint)
            yield
        await self.redis.aclose()
        await second.aclose()

    async def hints(self) -> int:
        """See ``TablesContract``: messages on the channel so far."""
        while (message := await self.subscription.get_message(timeout=0.05)) is not None:
            self.heard += message["type"] == "message"
        return self.heard

    async def empty(self) -> None:
        """Deletes every key of this test; other tests share the server."""
        async for key in self.redis.scan_iter(match=f"{{{self.keys.namespace}}}*"):
            await self.redis.delete(key)

    async def copy(self) -> None:
        """Every key of this test, as Redis dumps it."""
        pattern = f"{{{self.keys.namespace}}}*"
        self.dumps = {key: await self.redis.dump(key) async for key in self.redis.scan_iter(match=pattern)}
        assert None not in self.dumps.values()

    async def take_back(self) -> None:
        """See ``TablesContract``."""
        await self.empty()
        for key, dump in self.dumps.items():
            await self.redis.restore(key, 0, dump or b"")

    async def test_scripts_survive_a_flush(self) -> None:
        """A Redis that forgot its scripts is given them again within the same call."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.redis.script_flush()
        assert await self.tables.put([write(row(2), at(1)), write(row(1, region="us"), None)]) == [True, True]
        await self.redis.script_flush()
        await self.tables.put_progress([progress("a", 0)])

    async def test_hints_name_what_other_processes_wrote(self) -> None:
        """A process's own hint tells it nothing new; another's row is read when the contents are renewed."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.tables.read()
        await self.other.put([write(row(2), at(1), True)])
        assert (await self.tables.renew()).reports == (row(1),)
        hint = await self.next_hint()
        assert not self.other.note_hint(hint)
        assert self.tables.note_hint(hint)
        assert (await self.tables.renew()).reports == (row(2),)
        await self.other.put([write(row(3), at(2), True)])
        assert self.tables.note_hint(await self.next_hint())
        await self.empty()
        assert (await self.tables.renew()).reports == (row(2),)
        assert (await self.tables.read()).reports == ()

    async def test_readers_of_the_writing_process_need_not_wait_for_redis(self) -> None:
        """A material row is shown before it is stored, a quiet one and one on another's row are not; what is
        refused is read again."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.tables.read()
        shown: list[tuple[Row, ...]] = []

        async def put(new: Row, expected: Position, *, material: bool) -> list[bool]:
            renewed: list[asyncio.Task[Contents]] = []
            writing = [write(new, expected, material)]
            accepted = await self.tables.put(
                writing, lambda: renewed.append(asyncio.ensure_future(self.tables.renew()))
            )
            shown.extend([(await task).reports for task in renewed])
            return accepted

        assert await put(row(2), at(1), material=True) == [True]
        assert await put(row(3), at(2), material=False) == [True]
        assert shown == [(row(2),)]
        await self.other.load(HEALTH, ["azure/eu/probe-1"])
        await self.other.put([write(row(5), at(3))])
        assert await put(row(4), at(3), material=True) == [False]
        assert shown == [(row(2),), (row(4),)]
        assert (await self.tables.renew()).reports == (row(5),)

    async def next_hint(self) -> bytes:
        """What the channel says next."""
        while True:
            message = await self.subscription.get_message(timeout=60)
            assert message is not None
            if message["type"] == "message":
                data: bytes = message["data"]
                return data

    async def test_a_stale_cache_is_noticed_and_read_again(self) -> None:
        """A write that is based on a cached row is refused; the process then sees the row that is stored."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.other.load(HEALTH, ["azure/eu/probe-1"])
        await self.tables.put([write(row(2), at(1))])
        assert (await self.other.load(HEALTH, ["azure/eu/probe-1"]))["azure/eu/probe-1"] == row(1)
        assert await self.other.put([write(row(3), at(1))]) == [False]
        assert (await self.other.load(HEALTH, ["azure/eu/probe-1"]))["azure/eu/probe-1"] == row(2)
