"""How many more requests a pool has room for, by what its answers say is left."""

from tieline._routing.room import RESET_DEFAULT_MS, RESET_MAX_MS, Allowance, RateLimits, Rooms

NOW = 7_000_000
B, MODEL = "b/r/x", "chat-large"


def of_requests(remaining: float, limit: float | None = None, reset_ms: float | None = None) -> RateLimits:
    """Limits of requests alone."""
    return RateLimits(requests=Allowance(remaining, limit, reset_ms))


def rooms_after(limits: RateLimits, *, sent_meanwhile: int = 0) -> Rooms:
    """One request was answered so, after ``sent_meanwhile`` more had left."""
    rooms = Rooms()
    ticket = rooms.take(B, MODEL, 100.0, NOW)
    for _ in range(sent_meanwhile):
        rooms.take(B, MODEL, 100.0, NOW)
    rooms.note(B, MODEL, ticket, limits, refused=False, now_ms=NOW)
    rooms.settle(B, MODEL, ticket)
    return rooms


def taken_at_once(rooms: Rooms, now_ms: int, units: float = 100.0) -> int:
    """How many of 50 requests find room."""
    count = 0
    while count < 50 and rooms.wait_ms(B, MODEL, units, now_ms) == 0:
        rooms.take(B, MODEL, units, now_ms)
        count += 1
    return count


def test_nothing_known_is_room() -> None:
    """Before an answer has said anything there is no limit."""
    rooms = Rooms()
    assert taken_at_once(rooms, NOW) == 50
    assert rooms.lacking(MODEL, 100.0, NOW) == {}
    assert rooms.pool_wait_ms(B, NOW) == 0


def test_three_are_left_for_twenty_seconds() -> None:
    """Three more go, the others not before the reset; then nothing is known again."""
    rooms = rooms_after(of_requests(3, None, 20_000))
    assert taken_at_once(rooms, NOW) == 3
    assert rooms.wait_ms(B, MODEL, 100.0, NOW + 5_000) == 15_000
    assert rooms.lacking(MODEL, 100.0, NOW + 5_000) == {B: 15_000}
    assert rooms.pool_wait_ms(B, NOW + 5_000) == 15_000
    assert taken_at_once(rooms, NOW + 20_000) == 50


def test_what_was_sent_meanwhile_is_not_in_the_number() -> None:
    """The provider counted when it took the request in: of 5 left then, 3 have been used since."""
    assert taken_at_once(rooms_after(of_requests(5, None, 20_000), sent_meanwhile=3), NOW) == 2


def test_requests_overtake_each_other() -> None:
    """What left a moment before and is on its way may reach the provider later: it is not in the number
    either. What has been answered is."""
    rooms = Rooms()
    first, second = rooms.take(B, MODEL, 1.0, NOW), rooms.take(B, MODEL, 1.0, NOW)
    rooms.note(B, MODEL, second, of_requests(2, None, 20_000), refused=False, now_ms=NOW)
    rooms.settle(B, MODEL, second)
    assert taken_at_once(rooms, NOW) == 1
    rooms.settle(B, MODEL, first)
    third = rooms.take(B, MODEL, 1.0, NOW + 2_000)
    rooms.note(B, MODEL, third, of_requests(2, None, 20_000), refused=False, now_ms=NOW + 2_000)
    assert taken_at_once(rooms, NOW + 2_000) == 2


def test_an_older_answer_changes_nothing() -> None:
    """Answers come out of order; the one to the later request knows more."""
    rooms = Rooms()
    first, second = rooms.take(B, MODEL, 1.0, NOW), rooms.take(B, MODEL, 1.0, NOW)
    rooms.note(B, MODEL, second, of_requests(2, 10, 60_000), refused=False, now_ms=NOW)
    assert rooms.note(B, MODEL, first, of_requests(9, 10, 60_000), refused=False, now_ms=NOW + 1) is None
    assert taken_at_once(rooms, NOW + 1) == 1


def test_a_limit_refills_evenly() -> None:
    """Of 60 a minute with none left, one comes back each second, and no more than the limit."""
    rooms = rooms_after(of_requests(0, 60, 60_000))
    assert rooms.wait_ms(B, MODEL, 1.0, NOW) == 1_000
    assert taken_at_once(rooms, NOW + 1_000) == 1
    assert taken_at_once(rooms, NOW + 6_000) == 5


def test_each_429_halves_the_refill() -> None:
    """A window that starts anew all at once, or a key that others use too: less is expected to come back."""
    rooms = rooms_after(of_requests(0, 60, 60_000))
    refused = rooms.take(B, MODEL, 1.0, NOW)
    rooms.note(B, MODEL, refused, of_requests(0, 60, 60_000), refused=True, now_ms=NOW)
    rooms.settle(B, MODEL, refused)
    assert rooms.wait_ms(B, MODEL, 1.0, NOW) == 2_000
    served = rooms.take(B, MODEL, 1.0, NOW)
    rooms.note(B, MODEL, served, of_requests(0, 60, 60_000), refused=False, now_ms=NOW)
    assert 1_000 < rooms.wait_ms(B, MODEL, 1.0, NOW) < 2_000


def test_tokens_count_by_the_size_of_the_request() -> None:
    """250 tokens are room for two requests of 100; one that is larger than the whole limit waits until all
    of it is there."""
    rooms = rooms_after(RateLimits(tokens=Allowance(250, 1_000, 20_000)))
    assert taken_at_once(rooms, NOW) == 2
    rooms = rooms_after(RateLimits(tokens=Allowance(1_000, 1_000, 0)))
    assert rooms.wait_ms(B, MODEL, 5_000.0, NOW) == 0


def test_without_a_reset_it_holds_for_a_second() -> None:
    """A provider that states no reset counts over a second: then it is asked again."""
    rooms = rooms_after(of_requests(0))
    assert rooms.wait_ms(B, MODEL, 1.0, NOW) == RESET_DEFAULT_MS
    assert taken_at_once(rooms, NOW + RESET_DEFAULT_MS) == 50


def test_a_far_reset_is_not_believed_for_longer_than_five_minutes() -> None:
    """What a day's limit says is tried again."""
    rooms = rooms_after(of_requests(0, None, 86_400_000))
    assert rooms.wait_ms(B, MODEL, 1.0, NOW) == RESET_MAX_MS


def test_each_model_has_its_own() -> None:
    """One model's limit says nothing about another's; the pool has room while any of them has."""
    rooms = rooms_after(of_requests(0, None, 20_000))
    rooms.take(B, "other", 1.0, NOW)
    assert rooms.wait_ms(B, "other", 1.0, NOW) == 0
    assert rooms.lacking("other", 1.0, NOW) == {}
    assert rooms.pool_wait_ms(B, NOW) == 0


def test_the_share_that_is_left() -> None:
    """The tighter of the two; of a limit that is not stated, in relation to the most that was left lately."""
    rooms = Rooms()
    ticket = rooms.take(B, MODEL, 100.0, NOW)
    both = RateLimits(Allowance(30, 60, 1_000), Allowance(100, 1_000, 1_000))
    assert rooms.note(B, MODEL, ticket, both, refused=False, now_ms=NOW) == 0.1
    rooms = Rooms()
    for remaining, share in ((80, 1.0), (40, 0.5), (100, 1.0), (5, 0.05)):
        ticket = rooms.take(B, MODEL, 1.0, NOW)
        left = rooms.note(B, MODEL, ticket, of_requests(remaining), refused=False, now_ms=NOW)
        assert left == share
    ticket = rooms.take(B, MODEL, 1.0, NOW)
    later = rooms.note(B, MODEL, ticket, of_requests(5), refused=False, now_ms=NOW + 600_000)
    assert later == 1.0
