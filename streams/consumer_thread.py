"""Changes to Faust's consumer and its thread: it can be ended, fetches quickly, and waits for Kafka.

Faust runs its consumer in a thread with an event loop of its own. Four traps come with that:

- Stopping an app while Kafka is away waits for a commit without end. The thread then keeps the whole process
  alive, and keeps its partitions once Kafka is back. So the thread becomes a daemon (``prepare``) and can be
  ended by force (``abandon``).
- A fetch that no partition has news for is held by the broker for 1.5 s, a constant of Faust's, handing over
  a record takes four tasks, and records wait until the next fetch is made. ``quick_start``, ``quick_first``
  and ``waking`` shorten all three, and change neither order nor promises.
- Offsets are committed by the name of a topic alone. ``name_topics`` lets each say of which topic it is.

All of it reaches into private parts of pinned versions (requirements.lock);
tests/integration/test_streams_consumer.py fails if those parts change.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from mode.threads import WorkerThread

from streams.every_record import install
from streams.positions import Partition, goes_on_at, to_commit

FETCH_LONG_WAIT_MS = 250
FETCH_SHORT_WAIT_MS = 25
CANCEL_WITHIN_S = 2.0

WaitFirst: TypeAlias = Callable[..., Awaitable[Any]]


class _DaemonThread(WorkerThread):  # type: ignore[misc]
    """Does not keep the process alive, and ends without a traceback when its loop is stopped by force."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def run(self) -> None:
        self.service._close_thread_loop_on_stop = False
        try:
            super().run()
        except BaseException:
            if not self.service.should_stop:
                raise
        finally:
            _close_loop(self.service.thread_loop, self.service._consumer)


def _close_loop(loop: asyncio.AbstractEventLoop, consumer: Any) -> None:
    """Ends what is left in the loop of a consumer, and closes it.

    A consumer that is stopped while it asks for a topic that is gone may open a connection after it closed
    the others.
    """

    async def leftovers() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_WITHIN_S)
        for connection in consumer._client._conns.values() if consumer is not None else ():
            connection.close()
        await asyncio.sleep(0)  # transports close at the next turn of the loop

    loop.run_until_complete(leftovers())
    loop.close()


class Fetched(NamedTuple):
    """What a consumer has handed out of a partition: the offset after its last record, and its position,
    which is also past the markers of transactions."""

    after_last: int
    position: int


class FetchedOffsets:
    """How far the consumer of a Faust app has fetched. Written in its thread, read in any."""

    def __init__(self) -> None:
        self._by_partition: dict[Partition, Fetched] = {}

    def note(self, partition: Partition, after_last: int | None, position: int) -> None:
        """The records before ``after_last`` (None: no new ones) were handed out; the consumer now stands at
        ``position``."""
        before = self._by_partition.get(partition)
        if after_last is None:
            after_last = before.after_last if before is not None and before.after_last <= position else 0
        self._by_partition[partition] = Fetched(after_last, position)

    def past(self, partition: Partition, next_offset: int) -> int:
        """``next_offset``, or the consumer's position if only markers of transactions lie between the two."""
        fetched = self._by_partition.get(partition)
        if fetched is None or fetched.after_last > next_offset:
            return next_offset
        return max(next_offset, fetched.position)


def prepare(app: Any, fetched: FetchedOffsets, topic_ids: Mapping[str, str]) -> None:
    """Changes the app's consumer and its thread. Call before the app starts. ``topic_ids`` by name."""
    install()
    app.consumer.wait_first = quick_first(app.consumer.wait_first)
    app.tables.recovery._wait = patient(app.tables.recovery._wait)
    thread = app.consumer._thread
    thread.Worker = _DaemonThread
    create = thread._create_consumer

    def create_consumer(loop: asyncio.AbstractEventLoop) -> Any:
        consumer = create(loop)
        consumer.start = quick_start(consumer, fetched=fetched)
        name_topics(consumer, topic_ids)
        return consumer

    thread._create_consumer = create_consumer


def patient(wait: Callable[..., Awaitable[None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """``_wait`` of Faust's recovery without its time-out, which it takes for the end of the app. It ends with
    the next rebalance and with the app all the same."""

    async def wait_patiently(awaited: Any, **_timeout: Any) -> None:
        await wait(awaited)

    return wait_patiently


def quick_start(
    consumer: Any, long_wait_ms: int = FETCH_LONG_WAIT_MS, fetched: FetchedOffsets | None = None
) -> Callable[[], Awaitable[None]]:
    """The start of an aiokafka consumer in which no partition waits for the silence of others.

    ``fetched`` takes how far it has fetched.

    A broker holds a fetch of partitions without news for as long as the fetch says (Faust says 1.5 s), and
    answers no other fetch of this consumer meanwhile. A partition whose last records are still being handed
    over is left out of the fetch, and its next records wait until the fetch ends. So only a fetch of all
    partitions may wait long.
    """
    start = consumer.start

    async def start_quick() -> None:
        await start()
        fetcher = consumer._fetcher
        actions = fetcher._get_actions_per_node

        def actions_per_node(assignment: Any) -> Any:
            fetcher._fetch_max_wait_ms = FETCH_SHORT_WAIT_MS if fetcher._records else long_wait_ms
            return actions(assignment)

        fetcher._get_actions_per_node = actions_per_node
        fetcher._proc_fetch_request = waking(fetcher)
        if fetched is not None:
            fetcher.fetched_records = noting(consumer, fetched)

    return start_quick


def name_topics(consumer: Any, topic_ids: Mapping[str, str]) -> None:
    """Lets an aiokafka consumer commit each offset together with the id of its topic, and go on only at
    offsets of these very topics (``streams.positions``). Call before it starts."""
    start, commit = consumer.start, consumer.commit

    async def commit_named(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        await commit({tp: to_commit(place.offset, topic_ids[tp.topic]) for tp, place in offsets.items()})

    async def start_named() -> None:
        await start()
        coordinator = consumer._coordinator
        fetch = coordinator._do_fetch_commit_offsets

        async def fetch_own(partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
            return {
                tp: place
                for tp, place in (await fetch(partitions)).items()
                if goes_on_at(place, topic_ids[tp.topic]) is not None
            }

        coordinator._do_fetch_commit_offsets = fetch_own

    consumer.start, consumer.commit = start_named, commit_named


def waking(fetcher: Any) -> Callable[..., Awaitable[bool]]:
    """``_proc_fetch_request`` of an aiokafka fetcher, which wakes those that wait for records at once.

    The fetcher itself wakes them later, after it has looked at every partition for the next fetch.
    """
    fetch = fetcher._proc_fetch_request

    async def fetch_and_wake(*arguments: Any) -> bool:
        has_records: bool = await fetch(*arguments)
        if has_records:
            for waiter in fetcher._fetch_waiters:
                fetcher._notify(waiter)
        return has_records

    return fetch_and_wake


def noting(consumer: Any, fetched: FetchedOffsets) -> Callable[..., Awaitable[Any]]:
    """``fetched_records`` of the consumer's fetcher, which also notes how far it has come."""
    fetch = consumer._fetcher.fetched_records

    async def fetch_and_note(*arguments: Any, **options: Any) -> Any:
        records = await fetch(*arguments, **options)
        subscription = consumer._subscription.subscription
        assignment: Any = subscription.assignment if subscription is not None else None
        for tp in assignment.tps if assignment is not None else ():
            state = assignment.state_value(tp)
            if state is not None and state.has_valid_position:
                batch = records.get(tp)
                after_last = batch[-1].offset + 1 if batch else None
                fetched.note(Partition(*tp), after_last, state.position)
        return records

    return fetch_and_note


def commit_nothing_more(app: Any) -> None:
    """From now on the app commits no offsets: they are of a topic that is no more, and say nothing about the
    topic that took its name."""

    async def commit_nothing(*_arguments: Any, **_options: Any) -> bool:
        return False

    app.consumer._commit_tps = commit_nothing


async def abandon(app: Any) -> None:
    """Ends the thread of an app that does not stop: cancels everything in its loop, then stops the loop.

    What was not committed stays uncommitted, and is read again.
    """
    thread = app.consumer._thread
    worker: threading.Thread | None = thread._thread
    if worker is None or not worker.is_alive():
        return
    loop: asyncio.AbstractEventLoop = thread.thread_loop
    thread._stopped_set()
    _call(loop, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    await asyncio.to_thread(worker.join, CANCEL_WITHIN_S)
    if worker.is_alive():
        _call(loop, loop.stop)
        await asyncio.to_thread(worker.join, CANCEL_WITHIN_S)


def quick_first(wait_first: WaitFirst) -> WaitFirst:
    """``wait_first`` of a Faust service, without tasks for what need not wait.

    Faust starts four tasks to hand one record to its agent, so that a suspension may interrupt it. But the
    hand-over waits only when the agent's queue is full or the flow is suspended. So it is begun in place, and
    only if it has to wait does it go Faust's way, from where it stopped: order and interruption stay as they
    were.
    """

    async def first_of(first: Any, *others: Any, **options: Any) -> Any:
        if not (others and all(map(asyncio.iscoroutine, (first, *others)))):
            return await wait_first(first, *others, **options)
        waiting_for = None
        finished = True
        try:
            waiting_for = first.send(None)
            finished = False
        except StopIteration:
            return None
        finally:
            if finished:
                for other in others:
                    other.close()
        return await wait_first(_go_on(first, waiting_for), *others, **options)

    return first_of


async def _go_on(coroutine: Coroutine[Any, Any, Any], waiting_for: Any) -> Any:
    return await _Rest(coroutine, waiting_for)


class _Rest:
    """The rest of a coroutine that was begun elsewhere and waits for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waiting_for: Any) -> None:
        self._coroutine = coroutine
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waiting_for = self._waiting_for
        while True:
            try:
                try:
                    value = yield waiting_for
                except BaseException as error:  # noqa: BLE001 (the coroutine handles cancellations too)
                    waiting_for = self._coroutine.throw(error)
                else:
                    waiting_for = self._coroutine.send(value)
            except StopIteration as end:
                return end.value


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the loop was closed in the meantime
