"""Which pool holds what, shared between processes through Redis.

Each process writes the ids that it learns, and asks for those that it does not know. Redis keeps a digest of
each id with the pool's name: the newest 200,000, each for 30 days at most, which is some 40 MB. It has no
part in whether a request is served: a look-up takes 5 ms at most, none is made while Redis is away or silent,
and what could not be written is kept, up to 10,000 ids, until it can be.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from threading import Lock
from typing import Any, cast

from redis.asyncio.client import Redis
from redis.exceptions import RedisError

from tieline._process.clock import monotonic_s
from tieline.backoff import Backoff
from tieline.keys import Keys
from tieline.redis_client import connect

IDS_MAX = 200_000
EXPIRY_MS = 30 * 86_400_000
UNSENT_MAX = 10_000
BATCH_MAX = 500
POOL_NAME_MAX_BYTES = 300
CONNECTIONS_MAX = 4
LOOK_UP_MAX_S = 0.005
LOOK_UPS_MAX = 256
# After three look-ups in a row that took too long none is made for a second.
SLOW_MAX = 3
SILENT_FOR_S = 1.0
PING_EVERY_S = 5.0
RECONNECT_MIN_S, RECONNECT_MAX_S = 0.05, 2.0
# The newest are kept. Both keys end together, as they name the same ids.
_WRITE = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('ZADD', KEYS[2], now_ms + ARGV[1], ARGV[i])
end
local surplus = redis.call('ZCARD', KEYS[2]) - ARGV[2]
local expired = redis.call('ZCOUNT', KEYS[2], '-inf', now_ms)
local leaving = math.min(math.max(surplus, expired), 1000)
if leaving > 0 then
    local ids = redis.call('ZRANGE', KEYS[2], 0, leaving - 1)
    redis.call('ZREM', KEYS[2], unpack(ids))
    redis.call('HDEL', KEYS[1], unpack(ids))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
"""
_log = logging.getLogger("tieline")


class RedisHolders:
    """``learned`` is called from any thread; all else belongs to the event loop that ``run`` runs in.

    ``ids_max``, ``expiry_ms``: what Redis keeps.
    """

    def __init__(self, url: str, keys: Keys, *, ids_max: int = IDS_MAX, expiry_ms: int = EXPIRY_MS) -> None:
        self._url = url
        self._keys = keys
        self._names = [keys.holders, keys.holders_order]
        self._bounds = [expiry_ms, ids_max]
        self._lock = Lock()
        self._unsent: OrderedDict[str, str] = OrderedDict()  # digest -> pool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more = asyncio.Event()
        self._connection: Redis | None = None
        self._look_ups: set[asyncio.Task[dict[str, str]]] = set()
        self._slow_count = 0
        self._silent_until_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether Redis answers, as far as is known."""
        return self._connection is not None

    @property
    def unsent(self) -> int:
        """How many ids wait to be written."""
        return len(self._unsent)

    def learned(self, ids: Iterable[str], pool: str) -> None:
        """This process knows since now that the pool holds these. Never waits."""
        with self._lock:
            for name in ids:
                self._unsent[_digest(name)] = pool
            while len(self._unsent) > UNSENT_MAX:
                self._unsent.popitem(last=False)
            loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._more.set)

    async def look_up(self, ids: Iterable[str]) -> dict[str, str]:
        """Those of the ids that some process knows, with their pools. Takes 5 ms at most, and no time while
        Redis is away; then, and where Redis fails, it is as if none were known."""
        connection = self._connection
        is_silent = monotonic_s() < self._silent_until_s
        if connection is None or is_silent or len(self._look_ups) >= LOOK_UPS_MAX:
            return {}
        task = asyncio.create_task(self._fetch(connection, tuple(ids)))
        self._look_ups.add(task)
        task.add_done_callback(self._look_ups.discard)
        await asyncio.wait({task}, timeout=LOOK_UP_MAX_S)
        for _ in range(3):  # a loop that was busy finds the time over before it has read the answer
            if not task.done():
                await asyncio.sleep(0)
        if task.done():
            self._slow_count = 0
            return task.result()
        self._slow_count += 1
        if self._slow_count >= SLOW_MAX:
            self._slow_count, self._silent_until_s = 0, monotonic_s() + SILENT_FOR_S
        return {}

    async def run(self) -> None:
        """Connect and write, again after each loss of the connection, until cancelled."""
        self._more = asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
        backoff, is_away = Backoff(RECONNECT_MIN_S, RECONNECT_MAX_S), False
        try:
            while True:
                began_s = monotonic_s()
                try:
                    async with self._connect() as connection:
                        await connection.ping()
                        self._connection, is_away = connection, False
                        await self._write_for_ever(connection)
                except (RedisError, OSError, TimeoutError) as error:
                    if not is_away:
                        _log.warning("holders are not shared while Redis is away: %s", type(error).__name__)
                    is_away = True
                finally:
                    self._connection = None
                if monotonic_s() - began_s > RECONNECT_MAX_S:
                    backoff.reset()
                await asyncio.sleep(backoff.next_s())
        finally:
            with self._lock:
                self._loop = None

    def _connect(self) -> Redis:
        return connect(self._url, self._keys, connections_max=CONNECTIONS_MAX)  # ``run`` tries again

    async def _write_for_ever(self, connection: Redis) -> None:
        """Never returns; raises when the connection is lost."""
        while True:
            self._more.clear()
            while batch := self._batch():
                arguments = [part for row in batch for part in row]
                await cast(Any, connection.eval(_WRITE, 2, *self._names, *map(str, self._bounds), *arguments))
                self._written(batch)
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._more.wait()
            except TimeoutError:
                await connection.ping()

    def _batch(self) -> list[tuple[str, str]]:
        with self._lock:
            return list(islice(self._unsent.items(), BATCH_MAX))

    def _written(self, batch: list[tuple[str, str]]) -> None:
        with self._lock:
            for digest, pool in batch:
                if self._unsent.get(digest) == pool:
                    del self._unsent[digest]

    async def _fetch(self, connection: Redis, ids: tuple[str, ...]) -> dict[str, str]:
        try:
            rows = await cast(Any, connection.hmget(self._names[0], [_digest(name) for name in ids]))
        except (RedisError, OSError, TimeoutError):
            return {}
        pairs = zip(ids, rows, strict=True)
        return {name: row.decode("utf-8", "replace") for name, row in pairs if _is_pool(row)}


def _digest(name: str) -> str:
    """A short form of the id, as ids may be long and are nobody else's business."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _is_pool(row: bytes | None) -> bool:
    return row is not None and 0 < len(row) <= POOL_NAME_MAX_BYTES
