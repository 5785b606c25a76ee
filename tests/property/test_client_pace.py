"""How a burst moves to a standby: as fast as that answers, and never over its limit for long."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from tieline._routing.budget import AT_ONCE, Pace

B = "b/r/x"
NOW = 9_000_000
STEP_MS = 10


class Standby:
    """Serves up to ``limit_per_s`` requests, up to a quarter of a second's worth at once, each within
    ``latency_ms``; turns the others away."""

    def __init__(self, limit_per_s: int, latency_ms: int) -> None:
        self.limit_per_s, self.latency_ms = limit_per_s, latency_ms
        self.served = self.turned_away = 0
        self._room = self._room_max = max(1.0, limit_per_s / 4)
        self._under_way: deque[int] = deque()
        self._answered_ms: deque[int] = deque()

    def send(self, now_ms: int) -> bool:
        """Whether it takes the request."""
        if self._room < 1:
            self.turned_away += 1
            return False
        self._room -= 1
        self._under_way.append(now_ms + self.latency_ms)
        return True

    def answers(self, now_ms: int) -> int:
        """How many requests it has answered since the last step."""
        self._room = min(self._room_max, self._room + self.limit_per_s * STEP_MS / 1_000)
        count = 0
        while self._under_way and self._under_way[0] <= now_ms:
            self._answered_ms.append(self._under_way.popleft())
            count += 1
        self.served += count
        return count

    def served_per_s(self, now_ms: int) -> float:
        """Over the last 10 s."""
        while self._answered_ms and self._answered_ms[0] <= now_ms - 10_000:
            self._answered_ms.popleft()
        return len(self._answered_ms) / 10


def move(standby: Standby, burst: int, *, until_ms: int) -> int:
    """Let so many requests leave a dead pool for the standby at once; those turned away try again. Gives how
    long it took until all were served, or ``until_ms``."""
    pace = Pace(lambda _pool, now_ms: standby.served_per_s(now_ms))
    turns = [(turn, NOW) for _ in range(burst) if (turn := pace.reserve(B, NOW, 10**9)) is not None]
    for now_ms in range(NOW, NOW + until_ms, STEP_MS):
        for _ in range(standby.answers(now_ms)):
            pace.answered(B, now_ms)
        if standby.served == burst:
            return now_ms - NOW
        waiting = []
        for turn, look_ms in turns:
            if look_ms > now_ms:
                waiting.append((turn, look_ms))
            elif wait_ms := pace.look(turn, now_ms):
                waiting.append((turn, now_ms + wait_ms))
            elif not standby.send(now_ms):
                pace.full(B, now_ms)
                if (again := pace.reserve(B, now_ms, 10**9)) is not None:
                    waiting.append((again, now_ms + again.wait_ms))
        turns = waiting
    return until_ms


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 400), st.integers(1, 500))
def test_an_idle_standby_takes_over_a_burst_within_a_few_answers(burst: int, latency_ms: int) -> None:
    """Each round of answers doubles what is under way: a burst needs the logarithm of its size in rounds."""
    standby = Standby(limit_per_s=10**6, latency_ms=latency_ms)
    rounds = max(1, (burst / AT_ONCE)).__ceil__().bit_length() + 1
    assert move(standby, burst, until_ms=60_000) <= rounds * (latency_ms + 2 * STEP_MS) + 600
    assert standby.turned_away == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(50, 400), st.integers(5, 50), st.integers(20, 500))
def test_a_standby_at_its_limit_is_not_run_over(burst: int, limit_per_s: int, latency_ms: int) -> None:
    """Whatever the standby bears, all are served in time, and fewer are turned away than are served."""
    standby = Standby(limit_per_s, latency_ms)
    took_ms = move(standby, burst, until_ms=120_000)
    assert standby.served == burst
    assert took_ms <= 4_000 + 4_000 * burst / limit_per_s
    assert standby.turned_away <= AT_ONCE + burst
