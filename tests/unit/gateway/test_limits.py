"""How much a caller may ask for, alone and over several workers."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.callers import Caller
from gateway.levels import Levels, LevelsFullError
from gateway.limits import AT_ONCE_S, Limits, expected_units


def caller_of(name: str, *, requests_per_s: float = 0.0, units_per_s: float = 0.0) -> Caller:
    return Caller(
        name,
        "chat",
        "eu",
        may_use=frozenset({"chat"}),
        requests_per_s=requests_per_s,
        units_per_s=units_per_s,
    )


@pytest.fixture
def limits_of(tmp_path: Path) -> Callable[..., Limits]:
    """Limits of these callers, in a file of the test's own."""
    return lambda *callers: Limits(callers, Levels(tmp_path / "levels"))


def test_requests_pass_at_once_and_then_at_their_rate(limits_of: Callable[..., Limits]) -> None:
    """The wait that is told is enough, and not longer than needed."""
    caller = caller_of("a", requests_per_s=2.0)
    limits = limits_of(caller)
    passed = [limits.take(caller, 1.0, 1_000) for _ in range(12)]
    assert passed == [0] * round(2 * AT_ONCE_S) + [500, 500]
    assert limits.take(caller, 1.0, 1_499) > 0
    assert limits.take(caller, 1.0, 1_500) == 0


def test_units_are_settled_when_the_answer_is_there(limits_of: Callable[..., Limits]) -> None:
    """A large answer makes its caller wait until what it took is back; a failure gives it back at once."""
    caller = caller_of("a", units_per_s=100.0)
    limits = limits_of(caller)
    assert limits.take(caller, 300.0, 1_000) == 0
    limits.settle(caller, 1_000.0)
    assert limits.take(caller, 1.0, 1_000) == pytest.approx(8_010, abs=10)
    assert limits.take(caller, 1.0, 9_020) == 0
    limits.settle(caller, -1.0)
    assert limits.take(caller, 1.0, 9_020) == 0


def test_one_callers_limit_is_nothing_to_the_others(limits_of: Callable[..., Limits]) -> None:
    """And who has none is never refused."""
    first, second = caller_of("a", requests_per_s=1.0), caller_of("b", requests_per_s=1.0)
    free = caller_of("c")
    limits = limits_of(first, second, free)
    while not limits.take(first, 1.0, 1_000):
        pass
    assert limits.take(second, 1.0, 1_000) == 0
    assert [limits.take(free, 1e9, 1_000) for _ in range(3)] == [0, 0, 0]


def test_workers_share_a_limit(tmp_path: Path) -> None:
    """Another process, with the same file, finds what this one has taken."""
    caller = caller_of("a", requests_per_s=1.0)
    limits = Limits([caller], Levels(tmp_path / "levels"))
    while not limits.take(caller, 1.0, 1_000):
        pass
    child = os.fork()
    if not child:
        other = Limits([caller], Levels(tmp_path / "levels"))
        os._exit(0 if other.take(caller, 1.0, 1_000) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_caller_keeps_its_level_while_others_come_and_go(tmp_path: Path) -> None:
    """Whoever else the file names, and in whichever order, in this worker and in the next."""
    first, second = caller_of("a", requests_per_s=1.0), caller_of("b", requests_per_s=1.0)
    before = Limits([first, second], Levels(tmp_path / "levels"))
    while not before.take(first, 1.0, 1_000):
        pass
    after = Limits([second, caller_of("c", requests_per_s=1.0), first], Levels(tmp_path / "levels"))
    assert after.take(first, 1.0, 1_000) > 0
    assert after.take(second, 1.0, 1_000) == 0


def test_rows_are_never_shared(tmp_path: Path) -> None:
    """Names whose digests lead to one row get rows of their own, until there are none."""
    levels = Levels(tmp_path / "levels", rows=8)
    rows = {name: levels.row_of(name) for name in "abcdefgh"}
    assert sorted(rows.values()) == list(range(8))
    assert {name: Levels(tmp_path / "levels", rows=8).row_of(name) for name in rows} == rows
    with pytest.raises(LevelsFullError):
        levels.row_of("i")


def test_what_a_request_takes_is_guessed_by_its_size() -> None:
    """Four characters are a unit, and an answer has some."""
    assert expected_units(0) > 0
    assert expected_units(4_000) - expected_units(0) == 1_000
