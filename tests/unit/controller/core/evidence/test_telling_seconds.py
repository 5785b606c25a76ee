"""Seconds that count are read again only where one of them is new, and what is read is what a reading from
scratch has."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.evidence.client_sums import sum_clients
from controller.core.evidence.served_at_limit import Window
from controller.core.evidence.telling_seconds import NOTHING_READ, Parts, parts_by_second
from controller.core.model.memo import Memo
from streams.rows import DemandRow, DemandSecond, PoolSum, Position
from tests.unit.controller.core.made import LIMITS, NOW_MS
from tieline.events import Outcomes

POOLS = ("azure/eu/a", "azure/eu/b", "gcp/eu/a")
FIRST_MS = NOW_MS - 20_000


def part(pool: str, ok: int) -> PoolSum:
    """What one partition has of a pool in one second."""
    return PoolSum(pool, Outcomes(ok=ok), 10.0 * ok, reporters=1, failing=Outcomes())


def second(age_s: int, **served: int) -> tuple[int, Parts]:
    """One second of one partition: by the last letter of a pool's name, what it has served."""
    pools = {pool.rsplit("/", 1)[1]: pool for pool in POOLS[:2]}
    return NOW_MS - age_s * 1_000, (tuple(part(pools[name], ok) for name, ok in served.items()),)


def test_only_a_pool_with_a_new_second_that_counts_is_read_again() -> None:
    """The newest second of one pool is new, and an older one of another that counts for it no more."""
    before = dict([second(1, a=50, b=50), second(2, a=50, b=50), second(3, a=50, b=50)])
    reading, seconds = NOTHING_READ.renewed(before, LIMITS)
    assert seconds.keys() == {*POOLS[:2]}
    now = dict([second(1, a=51, b=50), second(2, a=50, b=50), second(3, a=50, b=9)])
    reading, seconds = reading.renewed(now, LIMITS)
    assert {pool: [part.outcomes.ok for _, part in own] for pool, own in seconds.items()} == {
        POOLS[0]: [51, 50]
    }
    assert reading.renewed(now, LIMITS)[1] == {}
    later = dict([second(1, a=51, b=50), second(2, a=50, b=49), second(3, a=50, b=9)])
    assert reading.renewed(later, LIMITS)[1].keys() == {POOLS[1]}  # its earliest second that counts is new


def test_a_quiet_pool_is_read_again_for_any_of_its_seconds() -> None:
    """All seconds count for it while they say too little, also one that has gone."""
    before = dict([second(1, a=50, b=1), second(2, a=50, b=1), second(9, a=50, b=1)])
    reading, _ = NOTHING_READ.renewed(before, LIMITS)
    _, seconds = reading.renewed(dict([second(1, a=50, b=1), second(2, a=50, b=1)]), LIMITS)
    assert seconds.keys() == {POOLS[1]}


def test_a_pool_of_which_nothing_is_left_is_named_without_seconds() -> None:
    """Whoever keeps what was read of it drops that."""
    reading, _ = NOTHING_READ.renewed(dict([second(1, a=50, b=50)]), LIMITS)
    reading, seconds = reading.renewed(dict([second(1, a=50)]), LIMITS)
    assert seconds == {POOLS[1]: []}
    assert reading.enough_ms.keys() == {POOLS[0]}


def test_a_pool_that_appears_in_an_old_second_only_is_read() -> None:
    """A late report may be the first word of a pool, in a second that counts for no other."""
    seconds = [second(1, a=50), second(2, a=50), second(5, a=50)]
    reading, _ = NOTHING_READ.renewed(dict(seconds), LIMITS)
    _, news = reading.renewed(dict([*seconds[:2], second(5, a=50, b=3)]), LIMITS)
    assert news.keys() == {POOLS[1]}


parts = st.builds(part, st.sampled_from(POOLS), st.sampled_from([0, 1, 12, 30]))
"""With a few values, so that equal ones that are other objects are frequent."""


@st.composite
def demand_rows(draw: st.DrawFn, partition: int, known: dict[int, DemandSecond]) -> DemandRow:
    """A row of a partition of which some seconds are the very objects of an earlier row."""
    seconds = []
    for number in sorted(draw(st.sets(st.integers(0, 9), min_size=1))):
        second_ms = FIRST_MS + number * 1_000
        if second_ms not in known or draw(st.booleans()):
            pools = draw(st.lists(parts, max_size=4, unique_by=lambda item: item.pool))
            newcomers = tuple(draw(st.lists(parts, max_size=1)))
            clients = draw(st.sampled_from([1, 2]))
            known[second_ms] = DemandSecond(second_ms, clients, (), tuple(pools), newcomers=newcomers)
            known[second_ms] = replace(known[second_ms], new_clients=draw(st.sampled_from([0, 1])))
        seconds.append(known[second_ms])
    return DemandRow(Position("demand", partition, 1), tuple(seconds))


@settings(max_examples=60)
@given(st.data())
def test_whatever_was_read_before_the_sums_are_those_from_scratch(data: st.DataObject) -> None:
    """Rows come and go, seconds begin, end and change, and windows move on."""
    memo, reading = Memo(), NOTHING_READ
    known: list[dict[int, DemandSecond]] = [{}, {}]
    for _ in range(data.draw(st.integers(2, 6))):
        numbers = data.draw(st.sampled_from([(0,), (1,), (0, 1), ()]))
        rows = [data.draw(demand_rows(number, known[number])) for number in numbers]
        windows = tuple(Window(row, FIRST_MS + data.draw(st.integers(0, 3)) * 1_000) for row in rows)
        assert sum_clients(windows, LIMITS, memo) == sum_clients(windows, LIMITS, Memo())
        parts_now = parts_by_second(windows)
        reading, _ = reading.renewed(parts_now, LIMITS)
        assert reading == NOTHING_READ.renewed(parts_now, LIMITS)[0]
