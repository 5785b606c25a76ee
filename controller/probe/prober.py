"""Probes every pool from one vantage point: the regions of its targets, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import httpx2

from controller.probe.pool_probes import PoolProbes
from controller.probe.region import Pace, RegionProbes, cycle_of
from controller.probe.request import ProbeKind, ProbeTarget, whole_within_s
from controller.probe.sending import Sender
from controller.probe.spending import Ledger, PlannedSpend
from tieline.cancelling import run_all
from tieline.credentials import Credentials
from tieline.events import pool_of
from tieline.producer import Producer

START_SPREAD_S = 0.5
Targets = Mapping[str, Sequence[ProbeTarget]]
"""Pool -> a target for each of its models."""


class Prober:
    """Probes ``targets``. ``credentials`` gives their secrets. ``counts_tokens``: whether the policy's unit
    of load is a token; else a probe is one unit. ``ledgers``: what was spent in each region before; what is
    spent from now on is noted there."""

    def __init__(
        self,
        targets: Targets,
        producer: Producer,
        pace: Pace,
        *,
        credentials: Credentials,
        monotonic_ms: Callable[[], int],
        counts_tokens: bool = True,
        ledgers: dict[str, Ledger] | None = None,
    ) -> None:
        self._pools = by_region(targets, pace, counts_tokens=counts_tokens)
        self._producer = producer
        self._pace = pace
        self._credentials = credentials
        self._monotonic_ms = monotonic_ms
        self._ledgers = {} if ledgers is None else ledgers
        self.regions: list[RegionProbes] = []

    async def run(self) -> None:
        """Probe until cancelled. Regions start spread over half a second, and share nothing afterwards."""
        # No connection is kept: a name that no longer resolves or a port that refuses has to show at once.
        limits = httpx2.Limits(max_keepalive_connections=0)
        timeout_s = self._pace.timeout_ms / 1_000
        timeout = httpx2.Timeout(timeout_s + whole_within_s(ProbeKind.LONG_WHOLE, timeout_s))
        async with httpx2.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as http:
            sender = Sender(http, self._credentials, self._monotonic_ms, timeout_ms=self._pace.timeout_ms)
            self.regions = [
                RegionProbes(
                    region,
                    pools,
                    self._pace,
                    sender=sender,
                    producer=self._producer,
                    ledger=self._ledgers.setdefault(region, Ledger()),
                )
                for region, pools in self._pools.items()
            ]
            spread_s = START_SPREAD_S / max(len(self.regions), 1)
            try:
                await run_all(*(region.run(index * spread_s) for index, region in enumerate(self.regions)))
            finally:
                self._credentials.close()


def by_region(targets: Targets, pace: Pace, *, counts_tokens: bool) -> dict[str, list[PoolProbes]]:
    """``provider/region`` -> its pools, both by name."""
    regions: dict[str, list[PoolProbes]] = {}
    for pool in sorted(targets):
        probes = PoolProbes(
            targets[pool],
            long_every_ms=pace.long_every_ms,
            counts_tokens=counts_tokens,
        )
        regions.setdefault("/".join(pool_of(pool)), []).append(probes)
    return regions


def planned(targets: Targets, pace: Pace, *, counts_tokens: bool) -> list[PlannedSpend]:
    """What the probes of each region are expected to cost while all is well, before any answer has named its
    tokens."""
    spends = []
    for region, pools in by_region(targets, pace, counts_tokens=counts_tokens).items():
        budget = pace.budget_per_pool * len(pools)
        cycle = cycle_of(pools, pace, pace.interval_ms)
        interval_ms = cycle.stretched_ms(pace.interval_ms, budget)
        spends.append(
            PlannedSpend(
                region,
                len(pools),
                interval_ms,
                cost_per_hour=cycle.per_hour(interval_ms),
                budget_per_hour=budget,
            )
        )
    return spends
