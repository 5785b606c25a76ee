"""What one target is told, in which order and how often."""

from hypothesis import given
from hypothesis import strategies as st

from controller.history.entries import EXPIRED, Entry
from controller.notify.outbox import MINUTE_MS, Outbox
from tests.unit.controller.notify.wanted import NOW_MS, alarm, move, target


def texts(outbox: Outbox, at_ms: int = 0) -> list[str]:
    """All that is due now, as it would be sent: what was told and, of conditions, whether it ends."""
    sent = []
    while (notification := outbox.due(at_ms, NOW_MS)) is not None:
        sent.append(f"{notification.entry.text}{' (over)' if notification.entry.phase == 'ends' else ''}")
        outbox.done()
    return sent


def test_what_is_wanted_is_told_in_order() -> None:
    """Kinds, severities, scopes and workloads that a target does not want are not queued."""
    outbox = Outbox(target(severity="warning", scopes=("azure",), events=("move", "alarm")))
    for entry in (
        move(1, severity="info"),
        alarm(about="azure/r/d"),
        alarm(about="gcp"),
        Entry(NOW_MS, "order", "azure", text="drain azure", severity="critical"),
    ):
        outbox.take(entry, 5, 0)
    assert texts(outbox) == ["azure/r/d: its last word is over"]


def test_what_was_told_is_not_told_again() -> None:
    """An entry whose record was read twice, and a condition that two leaders have begun."""
    outbox = Outbox(target())
    for entry in (move(1), move(1), alarm(), alarm(), alarm("ends"), alarm("ends")):
        outbox.take(entry, 0, 0)
    assert texts(outbox) == [
        "moved 1",
        "prober: its last word is over",
        "prober: its last word is over (over)",
    ]
    assert outbox.repeated == 2


def test_an_end_is_told_to_whoever_was_told_the_beginning() -> None:
    """Also when another process told it. What began before is not told again."""
    outbox = Outbox(target())
    outbox.begin((alarm(),), 7)
    assert list(outbox.standing) == ["alarm:prober"]
    for entry in (alarm(), alarm("ends"), alarm("ends", about="gateway")):
        outbox.take(entry, 7, 0)
    assert texts(outbox) == ["prober: its last word is over (over)"]
    assert outbox.standing == {}


def test_a_condition_that_comes_and_goes_is_told_now_and_then() -> None:
    """Its return within repeat_after_s is told when that is over, if it then still stands."""
    outbox = Outbox(target(repeat_after_s=300))
    for second, phase in ((0, "begins"), (10, "ends"), (20, "begins"), (30, "ends"), (40, "begins")):
        outbox.take(alarm(phase), second, second * 1_000)  # type: ignore[arg-type]
    assert texts(outbox, 41_000) == ["prober: its last word is over", "prober: its last word is over (over)"]
    assert texts(outbox, 299_999) == []
    assert texts(outbox, 300_000) == ["prober: its last word is over"]


def test_what_is_critical_is_told_at_once() -> None:
    """Also when it comes and goes, and beyond the target's rate."""
    outbox = Outbox(target(per_minute=1))
    outbox.take(move(1), 0, 0)
    for second, phase in ((1, "begins"), (2, "ends"), (3, "begins")):
        outbox.take(alarm(phase, severity="critical"), second, second * 1_000)  # type: ignore[arg-type]
    assert len(texts(outbox, 4_000)) == 4


def test_beyond_its_rate_a_target_is_told_how_many_were_left_out() -> None:
    """In one line, once the minute is over; an end whose beginning it knows waits for that."""
    outbox = Outbox(target(per_minute=2))
    outbox.take(alarm(), 0, 0)
    outbox.take(move(1), 1, 0)
    assert len(texts(outbox, 0)) == 2
    for number in range(2, 7):
        outbox.take(move(number), number, 1_000)
    outbox.take(alarm("ends"), 7, 1_000)
    outbox.take(alarm(about="gateway"), 8, 1_000)
    assert texts(outbox, 2_000) == []
    assert texts(outbox, MINUTE_MS) == [
        "6 notifications were left out: 5 move, 1 alarm; `tieline history` has them all",
        "prober: its last word is over (over)",
    ]
    outbox.take(alarm("ends", about="gateway"), 9, MINUTE_MS + 1)
    assert texts(outbox, 3 * MINUTE_MS) == [], "nobody was told that it began"


def test_a_full_queue_leaves_out_the_oldest_informational_one() -> None:
    """Then the oldest other; what is critical stays, and then nothing more is read."""
    outbox = Outbox(target(waiting_max=10, per_minute=1_000))
    outbox.take(move(0, severity="warning"), 0, 0)
    for number in range(1, 10):
        outbox.take(move(number), number, 0)
    outbox.take(alarm(severity="critical"), 10, 0)
    assert (outbox.left_out["move"], outbox.is_full) == (1, False)
    for number in range(20):
        outbox.take(alarm(about=f"a{number}", severity="critical"), 11, 0)
    assert outbox.is_full
    assert outbox.left_out.total() == 10
    assert len(texts(outbox)) == 1 + 21


def test_an_expiry_is_told_to_whoever_asks_for_no_more_than_that() -> None:
    """Although the order's beginning is of another kind."""
    order = Entry(NOW_MS, "order", "azure", text="drain azure", phase="begins", key="order:o")
    over = Entry(
        NOW_MS, "order", "azure", text="drain azure", phase="ends", key="order:o", reasons=(EXPIRED,)
    )
    outbox = Outbox(target(events=("expiry",)))
    for entry in (order, over):
        outbox.take(entry, 0, 0)
    assert texts(outbox) == ["drain azure (over)"]


def test_the_position_lies_behind_what_was_dealt_with() -> None:
    """What waits and what is on its way will be read again by the next process."""
    outbox = Outbox(target())
    outbox.begin((), 5)
    assert outbox.finished_offset == 5
    for offset in (5, 6):
        outbox.take(move(offset), offset, 0)
        outbox.next_offset = offset + 1
    assert outbox.finished_offset == 5
    assert outbox.due(0, NOW_MS) is not None
    assert outbox.finished_offset == 5
    outbox.done()
    assert outbox.finished_offset == 6
    assert texts(outbox) == ["moved 6"]
    assert outbox.finished_offset == 7


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(("begins", "ends")), st.integers(0, 400_000), st.booleans()
        ),
        max_size=40,
    )
)
def test_in_the_end_a_target_knows_how_it_is(steps: list[tuple[int, str, int, bool]]) -> None:
    """Whatever came and went: beginnings and ends alternate, and the last one told is true in the end.

    Of what was left out nothing is told to stand.
    """
    outbox = Outbox(target(per_minute=3, waiting_max=10))
    stands: dict[str, bool] = {}
    knows: dict[str, bool] = {}
    at_ms = 0

    def send() -> None:
        while (notification := outbox.due(at_ms, NOW_MS)) is not None:
            entry = notification.entry
            if entry.phase:
                assert knows.get(entry.about, False) is (entry.phase == "ends")
                knows[entry.about] = entry.phase == "begins"
            outbox.done()

    for number, phase, later_ms, sends in steps:
        at_ms += later_ms
        about = f"a{number}"
        if stands.get(about, False) is (phase == "begins"):
            continue
        stands[about] = phase == "begins"
        outbox.take(alarm(phase, about=about), 0, at_ms)  # type: ignore[arg-type]
        if sends:
            send()
    for _ in range(20):
        at_ms += 400_000
        send()
    assert all(stands[about] for about, is_known in knows.items() if is_known)
    left_out = outbox.left_out.total()
    assert left_out or all(knows.get(about, False) == is_so for about, is_so in stands.items())
