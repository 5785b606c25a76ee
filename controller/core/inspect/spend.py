"""What is bought for a period and paid whether used or not: how much of it is used, and what will be left.

Use is metered from decisions: the load that each table in force sent to a provider, while it was in force. A
commitment in units counts all load, one in money counts load at the policy's price. Pure.
"""

from datetime import UTC, datetime

from msgspec import Struct

from controller.core.assessment import assess
from controller.core.model.memo import Memo
from controller.core.moves.held_table import HeldTable
from controller.core.policy.policy import CommittedSpend, Policy, SpendPeriod
from controller.core.snapshot import Snapshot
from tieline.table import RouteTable

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


class Rate(Struct, frozen=True):
    """What a provider is sent: units/s, and its worth at the policy's prices per second."""

    units_per_s: float = 0.0
    money_per_s: float = 0.0


class Used(Struct, frozen=True):
    """What a provider was sent while it was metered."""

    units: float = 0.0
    money: float = 0.0

    def plus(self, rate: Rate, seconds: float) -> "Used":
        """With one more stretch of time at this rate."""
        return Used(self.units + rate.units_per_s * seconds, self.money + rate.money_per_s * seconds)


class SpendRow(Struct, frozen=True):
    """One commitment. ``used`` in the metered part of the period; ``projected`` for the whole period if load
    goes on as it was metered, None when nothing was; ``shortfall`` is what would then be paid for unused.
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


def rates(snapshot: Snapshot, table: RouteTable, now_ms: int, memo: Memo | None = None) -> dict[str, Rate]:
    """Provider -> what the table sends it under the demand known at ``now_ms``."""
    assessment = assess(snapshot, now_ms, memo)
    compiled = assessment.written
    load = HeldTable(compiled, table).draft(assessment.demand).load
    found: dict[str, Rate] = {name: Rate() for name in compiled.providers}
    for units, pool in zip(load, snapshot.policy.pools, strict=True):
        was = found[pool.provider]
        money = units * pool.price_per_million_units / 1_000_000
        found[pool.provider] = Rate(was.units_per_s + units, was.money_per_s + money)
    return found


def spend(policy: Policy, used: dict[str, Used], metered_ms: int, now_ms: int) -> tuple[SpendRow, ...]:
    """One row a commitment of the policy. ``used`` was metered over the last ``metered_ms``, all of it in
    the period: see ``period_of``."""
    return tuple(
        _row(one, used.get(one.provider, Used()), metered_ms, now_ms) for one in policy.committed_spend
    )


def period_of(period: SpendPeriod, now_ms: int) -> tuple[int, int]:
    """Beginning and end of the calendar period (UTC) that holds ``now_ms``."""
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    months = _MONTHS[period]
    first = (now.month - 1) // months * months
    start = datetime(now.year, first + 1, 1, tzinfo=UTC)
    after = first + months
    end = datetime(now.year + after // 12, after % 12 + 1, 1, tzinfo=UTC)
    return round(start.timestamp() * 1_000), round(end.timestamp() * 1_000)


def _row(one: CommittedSpend, used: Used, metered_ms: int, now_ms: int) -> SpendRow:
    start_ms, end_ms = period_of(one.period, now_ms)
    in_units = one.units is not None
    committed = (one.units if in_units else one.money) or 0.0
    amount = used.units if in_units else used.money
    projected = amount / metered_ms * (end_ms - start_ms) if metered_ms else None
    shortfall = None if projected is None else max(0.0, committed - projected)
    kind = "units" if in_units else "money"
    return SpendRow(
        one.provider, one.period, kind, committed, start_ms, end_ms, metered_ms, amount, projected, shortfall
    )
