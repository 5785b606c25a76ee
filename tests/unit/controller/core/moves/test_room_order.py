"""The largest rooms are those that a look at every pool finds, while rooms only shrink."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.moves.draft import GAINS, RECEIVERS_MAX, Draft, DraftLimits
from controller.core.moves.room_order import Room, RoomOrder
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import policy, pool
from tieline.table import MILLION

COUNT = 3
NOBODY = -1


def in_parts(units: float) -> int:
    """Coarse parts, so that rooms that differ are often the same."""
    return int(units / 10)


def looked_up(rooms: list[float], barred: int) -> list[Room] | None:
    """The largest rooms, by a look at every pool."""
    found = [(in_parts(units), -pool) for pool, units in enumerate(rooms) if units > 0 and pool != barred]
    return sorted(found, reverse=True)[:COUNT] if len(found) > COUNT else None


def with_room(rooms: list[Room] | None) -> list[Room] | None:
    """Without those too small to be given anything, of which it does not matter which are named."""
    return None if rooms is None else [room for room in rooms if room[0] > 0]


@settings(max_examples=100)
@given(st.data())
def test_the_largest_rooms_are_those_of_all_pools(data: st.DataObject) -> None:
    """Whatever was asked before, and however rooms have shrunk since."""
    rooms = data.draw(st.lists(st.floats(-20, 100), min_size=1, max_size=12))
    order = RoomOrder(range(len(rooms)), list(rooms))
    for _ in range(data.draw(st.integers(1, 5))):
        barred = data.draw(st.integers(NOBODY, len(rooms) - 1))
        answer = order.largest(COUNT, lambda pool: rooms[pool], in_parts, barred)
        assert with_room(answer) == with_room(looked_up(rooms, barred))
        for index in data.draw(st.lists(st.integers(0, len(rooms) - 1), max_size=4)):
            rooms[index] -= data.draw(st.floats(0, 30))


def test_a_room_that_has_shrunk_comes_later() -> None:
    """The order was made when it was the largest."""
    rooms = [90.0, 80.0, 70.0, 60.0, 50.0]
    order = RoomOrder(range(5), list(rooms))
    rooms[0] = 55.0
    assert order.largest(COUNT, lambda pool: rooms[pool], in_parts, NOBODY) == [(8, -1), (7, -2), (6, -3)]


def test_load_that_leaves_a_pool_makes_it_first_again() -> None:
    """An order that was made before is not asked any more."""
    pools = tuple(pool(f"azure/p{number}") for number in range(RECEIVERS_MAX + 2))
    compiled = compile_policy(policy(pools))
    limits = DraftLimits([100.0] * len(pools), [0.0] * len(pools), [GAINS] * len(pools), [])
    draft = Draft(compiled, [100.0], [{0: 900_000, 1: 100_000}], [0])
    draft.few_receivers = True
    draft.take(0, 1, 100_000)
    assert draft.place(0, 100_000, limits) == 0
    assert 0 not in {number for number in draft.weights[0] if draft.weights[0][number] < 900_000}
    draft.take(0, 0, 900_000)
    before = draft.weights[0].copy()
    assert draft.place(0, 900_000, limits) == 0
    assert draft.weights[0].get(0, 0) > before.get(0, 0)
    assert sum(draft.weights[0].values()) == MILLION
