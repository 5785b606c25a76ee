"""How far the clock of whoever gives an order is from the brokers', by which the order ends."""

from __future__ import annotations

from typing import cast

import pytest

from controller.cli.give_order import behind_by_ms
from controller.leading.claim_rule import LeaderLog
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms

MINUTE_MS = 60_000


class Heard:
    """A leader log whose last heartbeat is ``ahead_ms`` ahead of this clock, and then those of ``later``."""

    def __init__(self, ahead_ms: int, later: tuple[int, ...] = ()) -> None:
        self._later = list(later)
        self._hear(ahead_ms)

    def _hear(self, ahead_ms: int) -> None:
        self.leader_log = LeaderLog(epoch=1, leader="one", heartbeat_append_ms=now_ms() + ahead_ms)

    async def leader_moved(self, within_s: float) -> None:
        if self._later:
            self._hear(self._later.pop(0))


@pytest.mark.parametrize(
    ("ahead_ms", "later", "expected_ms", "words"),
    [
        (-600, (), 0, ""),
        (MINUTE_MS + 390, (), MINUTE_MS, "is 60 s behind the brokers'"),
        (-MINUTE_MS, (-MINUTE_MS + 500,), -MINUTE_MS + 500, "is 59 s ahead of the brokers'"),
        (-MINUTE_MS, (-100,), 0, ""),
    ],
    ids=["agrees", "behind", "ahead", "the leader was silent and is back"],
)
async def test_another_clock_is_told_by_the_heartbeats(
    capsys: pytest.CaptureFixture[str], ahead_ms: int, later: tuple[int, ...], expected_ms: int, words: str
) -> None:
    """Heartbeats have the brokers' time. An old one may also mean that the leader is silent, so the next one
    decides between the two."""
    behind_ms = await behind_by_ms(cast(RoutesReader, Heard(ahead_ms, later)))
    assert abs(behind_ms - expected_ms) < 400
    told = capsys.readouterr().err
    assert (words in told) if words else not told


async def test_nobody_ever_led_so_nothing_is_known_about_the_clock() -> None:
    """Then the order's time counts by this machine's clock."""
    routes = Heard(MINUTE_MS)
    routes.leader_log = LeaderLog()
    assert await behind_by_ms(cast(RoutesReader, routes)) == 0
