"""Probes every pool at an interval and posts one report per provider-region and interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2
import structlog

from controller.probe.request import ProbeTarget, probe
from controller.probe.watch import Watch
from tieline.cancelling import end_all, run_all
from tieline.credentials import Credentials, MissingCredentialError
from tieline.events import ResultClass, pool_of
from tieline.producer import Producer
from tieline.providers import Header

IN_FLIGHT_PER_POOL_MAX = 2
START_SPREAD_S = 0.5
_log = structlog.get_logger("tieline.probe")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a pool is probed, and how long a first token may take."""

    interval_ms: int = 2_000
    timeout_ms: int = 3_000


class Prober:
    """Watches ``targets``: pool -> its models, probed in turn. ``credentials`` gives their secrets."""

    def __init__(
        self,
        targets: Mapping[str, Sequence[ProbeTarget]],
        producer: Producer,
        pace: Pace,
        *,
        credentials: Credentials,
        monotonic_ms: Callable[[], int],
    ) -> None:
        self._targets = targets
        self._producer = producer
        self._pace = pace
        self._credentials = credentials
        self._monotonic_ms = monotonic_ms
        self._watches = {pool: Watch(pool) for pool in sorted(targets)}
        self._last_results: dict[str, ResultClass] = {}
        self._awaiting_secret: set[str] = set()  # pools
        self._probes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Probe until cancelled. Regions start spread over half a second, and share nothing afterwards."""
        regions = sorted({"/".join(pool_of(pool)) for pool in self._watches})
        # No connection is kept: a name that no longer resolves or a port that refuses has to show at once.
        limits = httpx2.Limits(max_keepalive_connections=0)
        timeout = httpx2.Timeout(2 * self._pace.timeout_ms / 1_000)
        async with httpx2.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as http:
            try:
                spread_s = START_SPREAD_S / max(len(regions), 1)
                await run_all(
                    *(self._watch(region, http, number * spread_s) for number, region in enumerate(regions))
                )
            finally:
                self._credentials.close()
                await end_all(self._probes)

    async def _watch(self, region: str, http: httpx2.AsyncClient, delay_s: float) -> None:
        """Rounds at fixed instants. A round is reported when its probes have ended, or when the next is
        due."""
        watches = [watch for pool, watch in self._watches.items() if pool.startswith(region + "/")]
        loop = asyncio.get_running_loop()
        interval_s = self._pace.interval_ms / 1_000
        await asyncio.sleep(delay_s)
        due = loop.time()
        number = 0
        while True:
            probes = [self._begin(watch, number, http) for watch in watches if self._has_room(watch)]
            number += 1
            due = max(due + interval_s, loop.time())
            if probes:
                await asyncio.wait(probes, timeout=due - loop.time())
            self._producer.observe(*(watch.observation(self._monotonic_ms()) for watch in watches))
            self._producer.flush(interval_ms=self._pace.interval_ms, region=region)
            await asyncio.sleep(due - loop.time())

    def _has_room(self, watch: Watch) -> bool:
        return watch.in_flight < IN_FLIGHT_PER_POOL_MAX and watch.pool not in self._awaiting_secret

    def _begin(self, watch: Watch, number: int, http: httpx2.AsyncClient) -> asyncio.Task[None]:
        models = self._targets[watch.pool]
        task = asyncio.create_task(self._probe(watch, models[number % len(models)], http))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)
        return task

    async def _probe(self, watch: Watch, target: ProbeTarget, http: httpx2.AsyncClient) -> None:
        try:
            auth, secret = await self._auth(target)
        except MissingCredentialError as error:
            _log.warning("no probe sent", pool=watch.pool, reason=str(error))
            return
        number = watch.begin(self._monotonic_ms())
        try:
            end = await probe(
                http, target, auth, timeout_s=self._pace.timeout_ms / 1_000, monotonic_ms=self._monotonic_ms
            )
        except BaseException:
            watch.forget(number)
            raise
        watch.end(number, end.result, first_token_ms=end.first_token_ms, units=1.0)
        if end.result is ResultClass.AUTH and target.credential:
            self._credentials.forget(target.credential, secret)
        if self._last_results.get(watch.pool, ResultClass.OK) is not end.result:
            _log.info("probe result changed", pool=watch.pool, model=target.model, result=str(end.result))
        self._last_results[watch.pool] = end.result

    async def _auth(self, target: ProbeTarget) -> tuple[Header | None, str]:
        """(the header with the pool's secret, the secret), (None, "") for a pool without one. A wait for one
        is no probe: the pool is not asked meanwhile, and no second call is begun. Raises
        MissingCredentialError."""
        if not target.credential:
            return None, ""
        self._awaiting_secret.add(target.pool)
        try:
            secret, is_token = await self._credentials.get(target.credential)
        finally:
            self._awaiting_secret.discard(target.pool)
        assert isinstance(secret, str), "a prober has strings only"
        return target.auth(secret, is_token=is_token), secret
