"""What each provider was sent, by day: nothing is counted twice, and little is lost."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from controller.cli.spend import report_of
from controller.core.inspect.spend import ProviderRate, ProviderUse
from controller.core.policy.policy import CommittedSpend, Policy
from controller.ledger.tally import DAY_MS, GAP_MAX_MS, DayUse, Tally, decode_use, encode_use
from tests.unit.controller.core.made import policy, pool

DAY = round(datetime(2026, 11, 27, tzinfo=UTC).timestamp() * 1_000)
NOON = DAY + DAY_MS // 2
RATES = {"azure": ProviderRate(10.0, 0.5)}


def metered(*seconds: int, tally: Tally | None = None, epoch: int = 1, from_ms: int = NOON) -> Tally:
    """A tally that was metered at these seconds after ``from_ms``, always at the same rates."""
    tally = tally or Tally()
    tally.begin(epoch)
    for second in seconds:
        tally.meter(RATES, from_ms + second * 1_000)
    return tally


def tally_of(uses: Iterable[DayUse]) -> Tally:
    """The totals that these records, in the topic's order, amount to."""
    tally = Tally()
    for use in uses:
        tally.take(use)
    return tally


def bought(*commitments: CommittedSpend) -> Policy:
    return replace(policy((pool("azure/r"), pool("gcp/r"))), committed_spend=commitments)


def test_use_is_what_was_sent_for_as_long_as_it_was() -> None:
    """Units and money, and for how long it is known."""
    tally = metered(0, 1, 5)
    assert tally.used("azure", DAY, DAY + 1) == (ProviderUse(50.0, 2.5), 5_000)
    assert tally.used("gcp", DAY, DAY + 1) == (ProviderUse(), 0)
    assert tally.unwritten == {"azure/2026-11-27"}


def test_what_was_sent_counts_at_the_rate_that_was_in_force() -> None:
    """A new rate counts from when it was found."""
    tally = metered(0)
    tally.meter({"azure": ProviderRate(100.0, 0.0)}, NOON + 1_000)
    tally.meter({"azure": ProviderRate(0.0, 0.0)}, NOON + 2_000)
    assert tally.used("azure", DAY, DAY + 1)[0].units == 110.0


def test_midnight_cuts_a_stretch() -> None:
    """Each day has its own part."""
    tally = metered(0, 4, from_ms=DAY + DAY_MS - 1_000)
    assert tally.used("azure", DAY, DAY + 1)[0].units == 10.0
    assert tally.used("azure", DAY + DAY_MS, DAY + 2 * DAY_MS)[0].units == 30.0


def test_a_restart_goes_on_where_the_last_record_ends() -> None:
    """The gap counts at the load that the next leader finds, unless it is too long to be guessed at."""
    records = [decode_use(encode_use(use)) for use in metered(0, 10).totals.values()]
    uses = [use for use in records if use is not None]
    after = metered(15, 20, tally=tally_of(uses), epoch=2)
    assert after.used("azure", DAY, DAY + 1) == (ProviderUse(200.0, 10.0), 20_000)
    gap_s = GAP_MAX_MS // 1_000 + 1
    after = metered(10 + gap_s, 15 + gap_s, tally=tally_of(uses), epoch=2)
    assert after.used("azure", DAY, DAY + 1) == (ProviderUse(150.0, 7.5), 15_000)


def test_records_that_come_late_or_twice_change_nothing() -> None:
    """Of a lower epoch, whatever they say; of the same, unless they say more."""
    own = metered(0, 10, epoch=5)
    (use,) = own.totals.values()
    for record in (use, replace(use, units=1.0, until_ms=use.until_ms - 1), replace(use, units=9e9, epoch=4)):
        own.take(record)
        assert own.totals[use.key] is use
    newer = replace(use, units=300.0, epoch=6)
    own.take(newer)
    assert own.totals[use.key] is newer
    assert decode_use(b"rubbish") is None
    assert decode_use(None) is None


@pytest.mark.parametrize(("units", "used_up"), [(100.0, ("azure",)), (100.1, ())])
def test_a_commitment_is_used_up_in_its_own_period(units: float, used_up: tuple[str, ...]) -> None:
    """In units or in money, and a provider with another one that is not is not."""
    tally = metered(0, 10)
    month = CommittedSpend("azure", "month", units=units)
    assert tally.used_up(bought(month), NOON) == used_up
    assert tally.used_up(bought(month), NOON + 10 * DAY_MS) == ()  # another month
    larger = CommittedSpend("azure", "year", money=6.0)
    assert tally.used_up(bought(month, larger), NOON) == ()
    over = CommittedSpend("azure", "term", money=9e9, starts="2020-01-01", ends="2025-01-01")
    assert tally.used_up(bought(month, over), NOON) == used_up


def test_a_report_has_each_commitment_in_its_own_term() -> None:
    """Used, projected for the whole of it, and what would be left."""
    yesterday = DayUse("azure", DAY - DAY_MS, 40.0, money=0.0, metered_ms=DAY_MS, until_ms=DAY, epoch=1)
    term = CommittedSpend("azure", "term", units=300.0, starts="2026-11-26", ends="2026-12-01")
    report = report_of(bought(term), tally_of([yesterday]), NOON)
    (row,) = report.commitments
    assert (row.used, row.projected, row.shortfall) == (40.0, 200.0, 100.0)
    assert row.metered_ms == DAY_MS
    assert report.used == {"azure": ProviderUse(40.0, 0.0)}


def test_days_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest days go first, so that years of use do not fill the memory."""
    monkeypatch.setattr("controller.ledger.tally.TOTALS_MAX", 3)
    tally = metered(0, 1)
    for day in range(1, 4):
        metered(0, 1, tally=tally, from_ms=NOON + day * DAY_MS)
    assert sorted(use.day_ms for use in tally.totals.values()) == [DAY + day * DAY_MS for day in (1, 2, 3)]
    assert tally.unwritten <= tally.totals.keys()
