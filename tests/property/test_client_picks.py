"""Whatever the weights, sessions and failures: picks stay exact, sessions stay put, something is left."""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.made_tables import MODEL, Time, part, router, target
from tieline._request.retry_rule import Attempts, GiveUp, Refuse, Wait, Wish
from tieline._routing.affinity import SLOTS, Affinity, Slots, compile_slots
from tieline._routing.budget import RetryBudget
from tieline._routing.pick import Choice
from tieline._routing.route import Reason, Route, Shed
from tieline._routing.router import Router
from tieline.events import HEALTH_FAILURES, ResultClass
from tieline.providers.answers import reading_of_result

SHED = Shed(Reason.SHED, "x")
NAMES = [f"p{n % 3}/r{n}/d" for n in range(9)]
weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 400), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(weights, st.floats(0, 0.999))
def test_weights_are_exact(row: dict[str, int], phase: float) -> None:
    """Over one round of the walk every pool is picked exactly as often as its weight says."""
    choice = Choice([(target(pool), weight) for pool, weight in row.items()], shed=SHED, phase=phase)
    found = [choice.next() for _ in range(sum(row.values()))]
    assert Counter(route.pool for route in found if isinstance(route, Route)) == row


def shares(slots: Slots) -> Counter[str]:
    """What each pool has of all points, in parts of ``SLOTS * total``: whole slots, and parts of slots."""
    held: Counter[str] = Counter()
    begin = 0
    for owner in slots.owners:
        if isinstance(owner, str):
            held[owner] += slots.total
    for name, edge in zip(slots.names, slots.edges, strict=True):
        held[name] += edge - begin
        begin = edge
    assert begin == slots.total * sum(isinstance(owner, int) for owner in slots.owners)
    return held


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10**6), min_size=1, max_size=9))
def test_sessions_are_divided_exactly(row: dict[str, int]) -> None:
    """Each pool holds exactly its share of the points, a millionth included, whatever the order of the
    pools."""
    slots = compile_slots(list(row.items()))
    assert len(slots.owners) == SLOTS
    assert shares(slots) == {pool: weight * SLOTS for pool, weight in row.items()}
    assert compile_slots(list(reversed(row.items()))) == slots


@settings(max_examples=10, deadline=None)
@given(weights)
def test_points_fall_as_the_slots_say(row: dict[str, int]) -> None:
    """Points spread evenly meet whole and divided slots alike, each pool about as often as it weighs."""
    slots, count = compile_slots(list(row.items())), 40_000
    seen = Counter(slots.owner(number * 107_374 % 2**32) for number in range(count))
    for pool, weight in row.items():
        expected = count * weight / sum(row.values())
        assert abs(seen[pool] - expected) <= 6 * expected**0.5 + 1


@settings(max_examples=15, deadline=None)
@given(weights.filter(lambda row: len(row) > 2), st.data())
def test_only_the_lost_pools_sessions_move(row: dict[str, int], data: st.DataObject) -> None:
    """Whichever pools are out already, losing one more moves no session but its own."""
    affinity = Affinity(list(row.items()))
    out = data.draw(st.sets(st.sampled_from(sorted(row)), max_size=len(row) - 2))
    lost = data.draw(st.sampled_from(sorted(set(row) - out)))

    def pools(gone: set[str]) -> list[str]:
        rows = [(target(pool), weight) for pool, weight in row.items() if pool not in gone]
        choice = Choice(rows, shed=SHED, affinity=affinity)
        found = [choice.for_session(f"s{number}") for number in range(200)]
        return [route.pool for route in found if isinstance(route, Route) and route.reason is Reason.AFFINITY]

    before, after = pools(out), pools(out | {lost})
    if len(before) == len(after) == 200:
        assert all(now == then for then, now in zip(before, after, strict=True) if then != lost)


def scaled(row: dict[str, int]) -> dict[str, int]:
    """The weights as parts of a million."""
    total = sum(row.values())
    parts = {pool: weight * 1_000_000 // total for pool, weight in row.items()}
    parts[min(row)] += 1_000_000 - sum(parts.values())
    return parts


steps = st.tuples(
    st.sampled_from(NAMES), st.sampled_from([*ResultClass, *HEALTH_FAILURES]), st.integers(0, 4_000)
)


@settings(max_examples=60, deadline=None)
@given(weights, st.lists(steps, max_size=150))
def test_failures_of_health_never_take_the_last_pool(
    row: dict[str, int], happened: list[tuple[str, ResultClass, int]]
) -> None:
    """After any history a pick gives a route, or each pool is out or is sent less for its 429s; and pools out
    for their health alone never leave nothing."""
    time = Time()
    routing = router(part(scaled(row)), time)
    for pool, result, passed_ms in happened:
        if pool in row:
            routing.record(pool, MODEL, result, retry_after_ms=2_000)
        routing.tick(time.pass_ms(passed_ms))
        outs = routing.outs()
        found = routing.pick(MODEL)
        if isinstance(found, Shed):
            kept_back = {seen["pool"] for seen in routing.explain() if seen["kept_back"]}
            assert {*outs, *kept_back} == set(row)
            assert kept_back or any(out.result not in HEALTH_FAILURES for out in outs.values())
        else:
            assert found.pool not in outs or found.reason is Reason.HALF_OPEN


NAMED_LAST = [*NAMES[:5], "l/r0/d", "l/r1/d", "l/r2/d"]
ends = st.sampled_from([*ResultClass, *HEALTH_FAILURES, ResultClass.THROTTLED])


def request(
    routing: Router, budget: RetryBudget, time: Time, data: st.DataObject
) -> Iterator[tuple[Route, list[str]]]:
    """One request whose attempts end somehow: each route that it is sent by, with the pools tried before."""
    tried: list[str] = []
    attempts = Attempts(
        Wish(MODEL, time() + 8_000), routing.choose, budget, pacing=routing, next_wait_ms=lambda: 500
    )
    action = attempts.begin(time())
    while not isinstance(action, GiveUp | Refuse):
        if isinstance(action, Wait):
            action = attempts.resume(time.pass_ms(action.wait_ms))
            continue
        yield action.route, tried
        tried = [*tried, action.route.pool]
        result = data.draw(ends)
        routing.record(action.route.pool, MODEL, result, retry_after_ms=3_000)
        if result is ResultClass.OK:
            return
        time.pass_ms(data.draw(st.integers(0, 500)))
        action = attempts.failed(
            reading_of_result(result),
            time(),
            fruitless=lambda pool: routing.health(pool).fruitless(time()),
            retry_after_ms=3_000,
        )


@settings(max_examples=60, deadline=None)
@given(weights, st.lists(st.sampled_from(NAMED_LAST), unique=True, min_size=1, max_size=4), st.data())
def test_the_last_resort_is_the_last(row: dict[str, int], named: list[str], data: st.DataObject) -> None:
    """Whatever fails how: no request is sent by last resort while a pool of the split is left, nor to a pool
    that the table does not name for that, nor twice to one, nor to one that is known to be of no use now."""
    time, budget = Time(), RetryBudget()
    routing = router(part(scaled(row), last_resort=named), time)
    for _ in range(data.draw(st.integers(1, 25))):
        time.pass_ms(data.draw(st.integers(0, 2_000)))
        routing.tick(time())
        for route, tried in request(routing, budget, time, data):
            if route.reason is not Reason.LAST_RESORT:
                continue
            outs = routing.outs()
            assert route.pool in named
            assert route.pool not in tried
            assert {pool for pool in row if pool not in outs} <= set(tried)
            assert route.pool not in outs or outs[route.pool].result in HEALTH_FAILURES
