"""For the tests of applications: a fake table, fake pools, and faults. No network and no control plane.

Everything between ``http_client()`` and the sockets is the real library: picking, failover, budgets,
time limits, reports. Only the pools are made up::

    fake = FakePools({"azure/swedencentral/gpt-4o": 70, "gcp/europe-west4/gemini": 30}, model="chat-large")
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as tl:
        await tl.ready()
        fake.fault("azure/swedencentral/gpt-4o", status=503)
        ...                                  # calls through tl.http_client() are served by gcp
        assert fake.requests[-1].pool == "gcp/europe-west4/gemini"

``tieline.Client(fake, ...)`` works the same way. Several clients, in any threads, may use one fake.
"""

import asyncio
import itertools
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from tieline._fake_pools import (
    KINDS,
    Answer,
    FakeAsyncWire,
    FakeSyncWire,
    Fault,
    Kind,
    Request,
    Script,
    script_for,
)
from tieline._http.messages import Headers
from tieline._process import clock as _clock
from tieline._routing.slices import ClientTable
from tieline._tables.checks import Subscriber, TableUpdate
from tieline.event_fields import PoolId
from tieline.table import (
    MILLION,
    ClientSettings,
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    checksum,
    decode_slice,
    slices,
)

__all__ = ["FakePools", "Fault", "Request"]

Weights: TypeAlias = Mapping[str, float]


class _Published(NamedTuple):
    """The table that clients are to have."""

    generation: Generation
    pools: tuple[str, ...]
    split: Split
    on_loss: dict[str, Split]
    last_resort: tuple[int, ...]


class FakePools:
    """A source of tables whose pools exist only in this process.

    - ``weights``: pools (``provider/region/deployment``) and their weights, in any unit, because only shares
      count.
    - ``model``: the logical model that all of them serve, each under the name of its deployment.
    - ``shed``: the share that the table sheds, from 0 to below 1.
    - ``on_loss``: provider -> the weights that apply once a client has lost most of that provider.
    - ``last_resort``: pools, in order, for requests that have nowhere else to go.
    - ``answer``: makes the text that a pool answers to a request.
    - ``settings``: what the table tells clients, for instance short time limits.

    ``requests`` lists the attempts that reached a pool, in order. Raises ValueError for weights or pools that
    a table can't have.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        model: str,
        shed: float = 0.0,
        on_loss: Mapping[str, Weights] | None = None,
        last_resort: Sequence[str] = (),
        answer: Answer | None = None,
        settings: ClientSettings | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.answer: Answer = answer or (lambda request: f"from {request.pool}")
        self._model = model
        self._settings = settings or ClientSettings()
        self._lock = threading.Lock()
        self._faults: dict[str, tuple[Fault, int | None]] = {}  # pool -> fault, and for how many requests
        self._reachable = True
        self._published: _Published
        self._publications = 0
        self._wake: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}
        self.publish(weights, shed=shed, on_loss=on_loss, last_resort=last_resort)

    # What a test does.

    def publish(
        self,
        weights: Weights,
        *,
        shed: float = 0.0,
        on_loss: Mapping[str, Weights] | None = None,
        last_resort: Sequence[str] = (),
    ) -> str:
        """Publish the next table; the arguments are those of the constructor. Returns its generation, for
        ``wait_for``. Raises ValueError for weights or pools that a table can't have."""
        losses = on_loss or {}
        pools = tuple(sorted({*weights, *last_resort, *itertools.chain.from_iterable(losses.values())}))
        for pool in pools:
            _check_pool(pool)
        splits = {provider: _split(pools, row, 0.0) for provider, row in losses.items()}
        with self._lock:
            self._publications += 1
            self._published = _Published(
                Generation("fake", 1, self._publications),
                pools,
                _split(pools, weights, shed),
                on_loss=splits,
                last_resort=tuple(map(pools.index, last_resort)),
            )
            generation = str(self._published.generation)
        self._wake_all()
        return generation

    def fault(
        self,
        pool: str,
        kind: Kind = "status",
        *,
        status: int = 503,
        retry_after_s: float | None = None,
        after_chunks: int = 1,
        times: int | None = None,
    ) -> None:
        """Make the pool fail from now on, for the next ``times`` requests or until ``clear``.

        ``kind`` and its settings (``status``, ``retry_after_s``, ``after_chunks``) are those of ``Fault``.
        Raises ValueError for an unknown kind, or a pool that the table does not have: such a fault would
        never show, and the test would pass for the wrong reason.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
        with self._lock:
            pools = self._published.pools
            if pool not in pools:
                raise ValueError(f"no pool {pool!r} in the table; it has {', '.join(pools)}")
            fault = Fault(kind, status=status, retry_after_s=retry_after_s, after_chunks=after_chunks)
            self._faults[pool] = fault, times

    def clear(self, pool: str | None = None) -> None:
        """Let the pool, or every pool, serve again."""
        with self._lock:
            if pool is None:
                self._faults.clear()
            else:
                self._faults.pop(pool, None)

    def control_plane(self, *, reachable: bool) -> None:
        """Say whether clients can reach the source of tables. If not they go on with the table they have, and
        their state is ``stale`` after the settings' ``stale_after_ms``."""
        self._reachable = reachable
        self._wake_all()

    def served(self) -> dict[str, int]:
        """Pool -> how many requests reached it."""
        counts: dict[str, int] = {}
        for request in self.requests:
            counts[request.pool] = counts.get(request.pool, 0) + 1
        return counts

    # What a client does.

    async def run(self, subscriber: Subscriber) -> None:
        """As for every source of tables."""
        loop = asyncio.get_running_loop()
        wake = self._wake[loop] = asyncio.Event()
        try:
            while True:
                wake.clear()
                if self._reachable:
                    self._offer(subscriber)
                    subscriber.heard()
                else:
                    subscriber.failed("the test keeps the control plane away")
                try:
                    async with asyncio.timeout(self._settings.stale_after_ms / 4_000):
                        await wake.wait()
                except TimeoutError:
                    pass
        finally:
            self._wake.pop(loop, None)

    @property
    def wires(self) -> "FakePools":
        """A client that takes its table from here sends its requests here too."""
        return self

    def for_async(self) -> FakeAsyncWire:
        """The connections of an asynchronous client."""
        return FakeAsyncWire(self.take)

    def for_sync(self) -> FakeSyncWire:
        """The connections of a synchronous client."""
        return FakeSyncWire(self.take)

    def take(self, url: str, headers: Headers, body: bytes) -> Script:
        """A request has come. Returns what is sent back."""
        place, _, path = url.removeprefix("https://").partition(".fake/v1")
        lowered = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        request = Request(place.replace("~", "/"), path, headers=lowered, body=body)
        with self._lock:
            self.requests.append(request)
            fault, times = self._faults.get(request.pool, (None, None))
            if fault is not None and times is not None:
                self._faults[request.pool] = fault, times - 1
                if times <= 1:
                    del self._faults[request.pool]
        return script_for(request, fault, self.answer)

    def _offer(self, subscriber: Subscriber) -> None:
        with self._lock:
            table = self._published
        if not table.generation.newer_than(subscriber.held_generation):
            return
        infos = tuple(_info(pool, self._model) for pool in table.pools)
        route = Route(
            subscriber.workload,
            subscriber.origin,
            "critical",
            split=table.split,
            shed_reason="the test says so",
            on_loss=table.on_loss,
            last_resort=table.last_resort,
        )
        whole = RouteTable(table.generation, _clock.now_ms(), infos, routes=(route,), settings=self._settings)
        raw = slices(whole)[route.name]
        parts = {subscriber.origin: decode_slice(raw, checksum(raw))}
        update = ClientTable(table.generation, parts, urgent=True)
        subscriber.take(TableUpdate(update, {subscriber.origin: raw}))

    def _wake_all(self) -> None:
        for loop, wake in list(self._wake.items()):
            loop.call_soon_threadsafe(wake.set)


def _check_pool(pool: str) -> None:
    try:
        msgspec.convert(pool, PoolId)
    except msgspec.ValidationError:
        raise ValueError(f"pool {pool!r}: expected provider/region/deployment") from None


def _info(pool: str, model: str) -> PoolInfo:
    offer = ModelOffer(model, pool.rsplit("/", 1)[1])
    return PoolInfo(pool, "fake", f"https://{pool.replace('/', '~')}.fake/v1", models=(offer,))


def _split(pools: tuple[str, ...], weights: Weights, shed: float) -> Split:
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0 or not 0 <= shed < 1:
        raise ValueError(
            "weights: expected none below 0 and a sum above 0; shed: expected a share from 0 to below 1"
        )
    shed_ppm = round(shed * MILLION)
    ends, reached = [0], 0.0
    for weight in weights.values():
        reached += weight
        ends.append(round(reached / total * (MILLION - shed_ppm)))
    ppm = tuple(end - begin for begin, end in itertools.pairwise(ends))
    return Split(tuple(map(pools.index, weights)), ppm, shed_ppm)
