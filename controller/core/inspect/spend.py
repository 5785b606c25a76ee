"""Committed spend: how much of it is used, what the whole period will come to, and what would be left unused.

A commitment is bought for a calendar period and paid whether it is used or not. Use is metered from recorded
decisions: the load that each table sent to a provider for as long as the table was in force. A commitment in
units counts all of that load; one in money counts it at the policy's price.
"""

from datetime import UTC, datetime

from msgspec import Struct

from controller.core.assessment import assess
from controller.core.inspect.measure import UNITS_PER_PRICE
from controller.core.model.memo import Memo
from controller.core.moves.held_table import HeldTable
from controller.core.policy.policy import CommittedSpend, Policy, SpendPeriod
from controller.core.snapshot import Snapshot
from tieline.table import RouteTable

MONTHS = {"month": 1, "quarter": 3, "year": 12}


class ProviderRate(Struct, frozen=True):
    """What a provider is sent at one moment: units/s, and what they are worth at the policy's prices."""

    units_per_s: float = 0.0
    money_per_s: float = 0.0


class ProviderUse(Struct, frozen=True):
    """What a provider was sent while it was metered."""

    units: float = 0.0
    money: float = 0.0

    def plus(self, rate: ProviderRate, seconds: float) -> "ProviderUse":
        """The use after so many more seconds at this rate."""
        return ProviderUse(self.units + rate.units_per_s * seconds, self.money + rate.money_per_s * seconds)


class SpendRow(Struct, frozen=True):
    """One commitment. Its amounts are in units or in money, as ``kind`` says.

    ``used`` counts the metered part of the period. ``projected`` is the whole period if load goes on as it
    was metered, and ``shortfall`` what would then be paid for and not used; both are None if nothing was
    metered.
    """

    provider: str
    period: SpendPeriod
    kind: str
    committed: float
    period_start_ms: int
    period_end_ms: int
    metered_ms: int
    used: float
    projected: float | None
    shortfall: float | None


def rates(
    snapshot: Snapshot, table: RouteTable, now_ms: int, memo: Memo | None = None
) -> dict[str, ProviderRate]:
    """What the table sends to each provider under the demand at ``now_ms``.

    Whoever asks for many moments in a row gives one ``memo`` to all of them, which saves work.
    """
    assessment = assess(snapshot, now_ms, memo)
    return rates_of(HeldTable(assessment.written, table), assessment.demand)


def rates_of(table: HeldTable, demand: list[float]) -> dict[str, ProviderRate]:
    """The same for a table that was read already; ``demand`` is in units/s by route."""
    compiled = table.compiled
    load = table.draft(demand).load
    totals = {name: ProviderRate() for name in compiled.providers}
    for units, pool in zip(load, compiled.policy.pools, strict=True):
        before = totals[pool.provider]
        money = units * pool.price_per_million_units / UNITS_PER_PRICE
        totals[pool.provider] = ProviderRate(before.units_per_s + units, before.money_per_s + money)
    return totals


def spend(policy: Policy, use: dict[str, ProviderUse], metered_ms: int, now_ms: int) -> tuple[SpendRow, ...]:
    """One row for each commitment of the policy.

    ``use``, by provider, was metered over the last ``metered_ms`` milliseconds. All of that time must lie in
    the period (``period_of``), or the projection is wrong.
    """
    return tuple(
        spend_row(commitment, use.get(commitment.provider, ProviderUse()), metered_ms, now_ms)
        for commitment in policy.committed_spend
    )


def period_of(commitment: CommittedSpend, now_ms: int) -> tuple[int, int]:
    """Beginning and end, in milliseconds, of the commitment's period (UTC): that of the calendar in which
    ``now_ms`` lies, or its own term."""
    if commitment.starts is not None and commitment.ends is not None:
        return _day_ms(commitment.starts), _day_ms(commitment.ends)
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    months = MONTHS[commitment.period]
    first = (now.month - 1) // months * months
    start = datetime(now.year, first + 1, 1, tzinfo=UTC)
    after = first + months
    end = datetime(now.year + after // 12, after % 12 + 1, 1, tzinfo=UTC)
    return round(start.timestamp() * 1_000), round(end.timestamp() * 1_000)


def _day_ms(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000)


def spend_row(commitment: CommittedSpend, use: ProviderUse, metered_ms: int, now_ms: int) -> SpendRow:
    """One commitment, of whose period ``metered_ms`` were metered with this use."""
    start_ms, end_ms = period_of(commitment, now_ms)
    in_units = commitment.units is not None
    committed = (commitment.units if in_units else commitment.money) or 0.0
    amount = use.units if in_units else use.money
    projected = amount / metered_ms * (end_ms - start_ms) if metered_ms else None
    return SpendRow(
        provider=commitment.provider,
        period=commitment.period,
        kind="units" if in_units else "money",
        committed=committed,
        period_start_ms=start_ms,
        period_end_ms=end_ms,
        metered_ms=metered_ms,
        used=amount,
        projected=projected,
        shortfall=None if projected is None else max(0.0, committed - projected),
    )
