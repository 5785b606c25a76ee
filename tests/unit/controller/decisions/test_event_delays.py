"""From an event in Kafka to the table in Redis and at the clients, in seconds."""

from controller.decisions.event_delays import FORGET_AFTER_MS, PENDING_MAX, EventDelays
from tieline.table import Generation

EVENT_MS = 1_800_000_000_000


def generation(seq: int, epoch: int = 4) -> Generation:
    """One of the lineage ``cloud:1``-less name that the tests use."""
    return Generation("multicloud-1", epoch, seq)


def test_a_table_has_arrived_when_redis_has_it_or_a_later_one() -> None:
    """Each table counts once; those that Redis skipped count with the one that replaced them."""
    delays = EventDelays()
    delays.published(generation(5), EVENT_MS)
    delays.published(generation(6), EVENT_MS + 100)
    assert delays.projected(generation(4), EVENT_MS + 110) == []
    assert delays.projected(generation(6), EVENT_MS + 120) == [0.12, 0.02]
    assert delays.projected(generation(7), EVENT_MS + 130) == []


def test_nine_clients_in_ten_have_applied_it() -> None:
    """A client that has died keeps its old table for ever, so not all of them are waited for."""
    delays = EventDelays()
    delays.published(generation(5), EVENT_MS)
    assert delays.awaits_clients
    assert delays.applied({}, EVENT_MS + 500) == []
    assert delays.applied({"multicloud-1:4:5": 8, "multicloud-1:4:4": 2}, EVENT_MS + 1_000) == []
    mixed = {"multicloud-1:4:6": 5, "multicloud-1:4:5": 4, "multicloud-1:4:2": 1}
    assert delays.applied(mixed, EVENT_MS + 2_000) == [2.0]
    assert not delays.awaits_clients


def test_tables_of_another_leadership_prove_nothing() -> None:
    """Their numbers can't be compared, and neither can what is no generation."""
    delays = EventDelays()
    delays.published(generation(5), EVENT_MS)
    odd = {"multicloud-1:3:9": 4, "other:4:9": 4, "nonsense": 4, "a:b:c": 4}
    assert delays.applied(odd, EVENT_MS + 1_000) == []


def test_a_clock_that_is_behind_gives_no_negative_time() -> None:
    """The instant of the event is the brokers', the end is this machine's."""
    delays = EventDelays()
    delays.published(generation(5), EVENT_MS)
    assert delays.projected(generation(5), EVENT_MS - 3) == [0.0]


def test_nothing_is_waited_for_without_end() -> None:
    """After a minute a table is forgotten uncounted, and only the newest few are remembered."""
    delays = EventDelays()
    delays.published(generation(1), EVENT_MS)
    assert delays.projected(generation(0), EVENT_MS + FORGET_AFTER_MS) == []
    assert delays.projected(generation(1), EVENT_MS + FORGET_AFTER_MS) == []
    for seq in range(2 * PENDING_MAX):
        delays.published(generation(seq), EVENT_MS)
    assert len(delays.projected(generation(99), EVENT_MS + 1)) == PENDING_MAX
    delays.clear()
    assert not delays.awaits_clients
