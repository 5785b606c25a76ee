"""For the tests of applications: a fake table, fake pools and faults. No network, no control plane.

Everything between ``http_client()`` and the sockets is the real library: picking, failover, budgets,
time-outs, reports. Only the pools are made up::

    fake = FakePools({"azure/swedencentral/gpt-4o": 70, "gcp/europe-west4/gemini": 30}, model="chat-large")
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as tl:
        await tl.ready()
        fake.fault("azure/swedencentral/gpt-4o", status=503)
        ...                                  # calls through tl.http_client() are served by gcp
        assert fake.requests[-1].pool == "gcp/europe-west4/gemini"

``tieline.Client(fake, ...)`` works alike. A fake may be used by several clients, in any threads.
"""

import asyncio
import itertools
import threading
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from tieline._fake_pools import KINDS, Answer, AsyncWire, Fault, Kind, Request, Script, SyncWire, script
from tieline._http.messages import Headers
from tieline._process import clock as _clock
from tieline._routing.compile import Held
from tieline._tables.checks import Fetched, Holder
from tieline.events import PoolId
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


class FakePools:
    """Pools (``provider/region/deployment``) by ``weights``, in whatever unit: shares are what counts.
    ``model``: the logical model that all serve; each under the name of its deployment. ``shed``: the share
    that the table sheds, from 0 to below 1. ``on_loss``: the weights that hold once a client has lost most of
    a provider. ``last_resort``: pools, in order, for requests for which nothing else is left. ``answer``:
    what a pool says to a request, a text. ``settings``: what the table tells clients, such as short
    time-outs. ``requests``: the attempts that reached a pool, in order. Raises ValueError for impossible
    weights or pools."""

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
        self._faults: dict[str, tuple[Fault, int | None]] = {}
        self._reachable = True
        self._seq = 0
        self._made: tuple[tuple[str, ...], Split, str, dict[str, Split], tuple[int, ...]]
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
        """A next table, of what the constructor's arguments of these names mean; gives its generation, for
        ``wait_for``. Raises ValueError for impossible weights or pools."""
        lost = on_loss or {}
        pools = tuple(sorted({*weights, *last_resort, *itertools.chain.from_iterable(lost.values())}))
        for pool in pools:
            _check(pool)
        splits = {provider: _split(pools, row, 0.0) for provider, row in lost.items()}
        with self._lock:
            last = tuple(map(pools.index, last_resort))
            self._made = pools, _split(pools, weights, shed), "the test says so", splits, last
            self._seq += 1
            generation = str(self._generation())
        self._tell()
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
        """From now on the pool does this, for the next ``times`` requests or until ``clear``.

        ``kind`` and its settings (``status``, ``retry_after_s``, ``after_chunks``) are those of ``Fault``.
        Raises ValueError for a kind or a pool that there is not: such a fault would never show.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is none of {', '.join(KINDS)}")
        with self._lock:
            pools = self._made[0]
            if pool not in pools:
                raise ValueError(f"no pool {pool!r} in the table: it has {', '.join(pools)}")
            self._faults[pool] = Fault(kind, status, retry_after_s, after_chunks), times

    def clear(self, pool: str | None = None) -> None:
        """The pool, or every pool, serves again."""
        with self._lock:
            if pool is None:
                self._faults.clear()
            else:
                self._faults.pop(pool, None)

    def control_plane(self, *, reachable: bool) -> None:
        """Whether clients hear of tables (``reachable``). If not they go on with what they hold, and say
        ``stale`` after the settings' ``stale_after_ms``."""
        self._reachable = reachable
        self._tell()

    def served(self) -> dict[str, int]:
        """Pool -> requests that reached it."""
        counts: dict[str, int] = {}
        for request in self.requests:
            counts[request.pool] = counts.get(request.pool, 0) + 1
        return counts

    # What a client does.

    async def run(self, holder: Holder) -> None:
        """As every source of tables."""
        loop = asyncio.get_running_loop()
        woken = self._wake[loop] = asyncio.Event()
        try:
            while True:
                woken.clear()
                if self._reachable:
                    self._give(holder)
                    holder.heard()
                else:
                    holder.failed("the test keeps the control plane away")
                try:
                    async with asyncio.timeout(self._settings.stale_after_ms / 4_000):
                        await woken.wait()
                except TimeoutError:
                    pass
        finally:
            self._wake.pop(loop, None)

    @property
    def wires(self) -> "FakePools":
        """A client that takes its table from here sends its requests here too."""
        return self

    def for_async(self) -> AsyncWire:
        """Connections of an asynchronous client."""
        return AsyncWire(self.take)

    def for_sync(self) -> SyncWire:
        """Connections of a synchronous one."""
        return SyncWire(self.take)

    def take(self, url: str, headers: Headers, body: bytes) -> Script:
        """A request has come: what it gets."""
        place, _, path = url.removeprefix("https://").partition(".fake/v1")
        named = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        request = Request(place.replace("~", "/"), path, named, body)
        with self._lock:
            self.requests.append(request)
            fault, times = self._faults.get(request.pool, (None, None))
            if times is not None:
                self._faults[request.pool] = fault, times - 1  # type: ignore[assignment]
                if times <= 1:
                    del self._faults[request.pool]
        return script(request, fault, self.answer)

    def _generation(self) -> Generation:
        return Generation("fake", 1, self._seq)

    def _give(self, holder: Holder) -> None:
        with self._lock:
            (pools, split, reason, lost, last), generation = self._made, self._generation()
        if not generation.newer_than(holder.held_generation):
            return
        infos = tuple(_info(pool, self._model) for pool in pools)
        route = Route(holder.workload, holder.origin, "critical", split, reason, lost, last)
        raw = slices(RouteTable(generation, _clock.now_ms(), infos, (route,), self._settings))[route.name]
        parts = {holder.origin: decode_slice(raw, checksum(raw))}
        holder.take(Fetched(Held(generation, parts, urgent=True), {holder.origin: raw}))

    def _tell(self) -> None:
        for loop, woken in list(self._wake.items()):
            loop.call_soon_threadsafe(woken.set)


def _check(pool: str) -> None:
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
        raise ValueError("weights must be positive in all, none negative, and shed from 0 to below 1")
    shed_ppm = round(shed * MILLION)
    ends, reached = [0], 0.0
    for weight in weights.values():
        reached += weight
        ends.append(round(reached / total * (MILLION - shed_ppm)))
    ppm = tuple(end - begin for begin, end in itertools.pairwise(ends))
    return Split(tuple(map(pools.index, weights)), ppm, shed_ppm)
