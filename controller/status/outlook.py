"""What takes longer to work out than a status: N-1 margins, and money. As of one moment. Pure.

Committed spend is projected from what each provider is sent now. What was really used in a period is metered
by `tieline spend` from the recorded decisions.
"""

from msgspec import Struct

from controller.core.assessment import assess
from controller.core.inspect.n_minus_1 import GeographyMargin, geography_margins
from controller.core.inspect.spend import ProviderUse, SpendRow, rates, spend
from controller.core.inspect.what_if import WhatIfQuestion, what_if
from controller.core.snapshot import Snapshot

SECOND_MS = 1_000


class ProviderMoney(Struct, frozen=True):
    """One provider now, in units/s: its committed capacity, the part of it that is used, and what is used
    beyond it."""

    provider: str
    committed: float
    committed_used: float
    burst_used: float


class Outlook(Struct, frozen=True):
    """``commitments`` are projected for their whole period as if load stayed as it is at ``at_ms``.
    ``burst_money_per_hour`` is in the policy's money."""

    at_ms: int
    margins: tuple[GeographyMargin, ...]
    providers: tuple[ProviderMoney, ...]
    commitments: tuple[SpendRow, ...]
    burst_money_per_hour: float


def outlook_of(snapshot: Snapshot, at_ms: int) -> Outlook:
    """The outlook from the table in force; without a table there are no commitments in it."""
    policy, now = snapshot.policy, what_if(snapshot, at_ms, WhatIfQuestion()).before
    committed = dict.fromkeys((provider.id for provider in policy.providers), 0.0)
    for pool in policy.pools:
        committed[pool.provider] += pool.committed_units_per_s
    use = {}
    if snapshot.table is not None:
        sent = rates(snapshot, snapshot.table, at_ms)
        use = {name: ProviderUse().plus(rate, 1.0) for name, rate in sent.items()}
    return Outlook(
        at_ms,
        geography_margins(snapshot, assess(snapshot, at_ms)),
        tuple(
            ProviderMoney(name, units, now.committed_used[name], burst_used=now.burst_used[name])
            for name, units in committed.items()
        ),
        commitments=spend(policy, use, SECOND_MS, at_ms) if use else (),
        burst_money_per_hour=now.burst_money_per_hour,
    )
