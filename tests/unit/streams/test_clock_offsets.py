"""News is told from a backlog, whatever happens to the clocks: ours, or one broker's."""

from __future__ import annotations

from streams.clock_offsets import ClockOffsets, StaleShare
from streams.positions import Partition

ONE, TWO, THREE = (Partition("t.reports", number) for number in range(3))
TRANSIT_MS = 3


class Clocks:
    """Ours, which can be set, a steady one, and that of each broker, in milliseconds."""

    def __init__(self) -> None:
        self.passed_ms = 0
        self.ours_ahead_ms = 0
        self.broker_ahead_ms = dict.fromkeys((ONE, TWO, THREE), 0)
        self.offsets = ClockOffsets(
            lambda: 10**9 + self.passed_ms + self.ours_ahead_ms, lambda: self.passed_ms
        )

    def run(self, for_ms: int, *arriving: Partition, waited_ms: int = 0) -> None:
        """Time passes; each second a record arrives on these partitions."""
        for _ in range(max(for_ms // 1_000, 1)):
            self.passed_ms += 1_000
            for partition in arriving:
                appended_ms = self.broker_ms(partition) - TRANSIT_MS - waited_ms
                self.offsets.note_arrival(partition, appended_ms)

    def broker_ms(self, partition: Partition) -> int:
        """What the partition's broker reads from its clock."""
        return 10**9 + self.passed_ms + self.broker_ahead_ms[partition]

    def error_ms(self, partition: Partition = ONE) -> int:
        """By how much the broker's time is taken for later than it is."""
        return self.offsets.broker_now_ms(partition) - self.broker_ms(partition)


def test_the_brokers_time_is_known_but_for_the_transit() -> None:
    """However far our own clock is off."""
    clocks = Clocks()
    clocks.ours_ahead_ms = -3_600_000
    clocks.run(5_000, ONE)
    assert clocks.error_ms() == -TRANSIT_MS


def test_a_step_of_our_clock_and_back_leaves_nothing_behind() -> None:
    """A minute back for eight seconds, then right again: at no moment is news taken for older than it is."""
    clocks = Clocks()
    clocks.run(60_000, ONE)
    for ahead_ms in (-60_000, 0):
        clocks.ours_ahead_ms = ahead_ms
        assert abs(clocks.error_ms()) <= TRANSIT_MS
        clocks.run(8_000, ONE)
        assert abs(clocks.error_ms()) <= TRANSIT_MS


def test_a_step_of_a_brokers_clock_ends_with_its_next_record() -> None:
    """Half a minute ahead for eight seconds, then right again; other partitions notice nothing."""
    clocks = Clocks()
    clocks.run(60_000, ONE, TWO)
    clocks.broker_ahead_ms[ONE] = 30_000
    clocks.run(8_000, ONE, TWO)
    assert (clocks.error_ms(ONE), clocks.error_ms(TWO)) == (-TRANSIT_MS, -TRANSIT_MS)
    clocks.broker_ahead_ms[ONE] = 0
    clocks.run(1_000, ONE, TWO)
    assert (clocks.error_ms(ONE), clocks.error_ms(TWO)) == (-TRANSIT_MS, -TRANSIT_MS)


def test_clocks_that_drift_are_followed() -> None:
    """By a millisecond a second, either way."""
    for drift_ms in (1, -1):
        clocks = Clocks()
        for _ in range(300):
            clocks.ours_ahead_ms += drift_ms
            clocks.run(1_000, ONE)
        assert abs(clocks.error_ms()) <= 61 + TRANSIT_MS


def test_records_that_waited_do_not_hide_the_distance() -> None:
    """A short wait changes nothing; a long one counts until the next live record."""
    clocks = Clocks()
    clocks.run(10_000, ONE)
    clocks.run(5_000, ONE, waited_ms=4_000)
    assert clocks.error_ms() == -TRANSIT_MS
    clocks.run(1_000, ONE, waited_ms=20_000)
    assert clocks.error_ms() == -20_000 - TRANSIT_MS
    clocks.run(1_000, ONE)
    assert clocks.error_ms() == -TRANSIT_MS


def test_a_partition_without_records_never_makes_news_old() -> None:
    """The earliest of the other brokers' times counts for it, and our own when nothing is known."""
    clocks = Clocks()
    assert clocks.error_ms(THREE) == 0
    clocks.broker_ahead_ms |= {ONE: 30_000, TWO: -7_000}
    clocks.run(5_000, ONE, TWO)
    assert clocks.error_ms(THREE) == -7_000 - TRANSIT_MS
    assert clocks.offsets.offset_ms(THREE) == 0


def test_the_share_of_stale_reports_is_that_of_the_last_minute() -> None:
    """It needs ten reports, follows within a minute, and ends when no more come."""
    share = StaleShare()
    for _ in range(9):
        share.note(stale=True, at_s=100.0)
    assert share.at(100.0) == 0.0
    share.note(stale=True, at_s=100.0)
    assert share.at(101.0) == 1.0
    for second in range(132, 193):
        share.note(stale=False, at_s=float(second))
    assert share.at(193.0) == 0.0
    assert share.at(400.0) == 0.0
