"""Time-outs that an application sets for itself."""

import pytest

from tests.unit.client.made_tables import Time, generation, part
from tieline._request.options import Timeouts
from tieline._setup.core import Core
from tieline.errors import ConfigurationError
from tieline.table import ClientSettings, Slice


def core(timeouts: Timeouts | None) -> Core:
    """The core of an application with these time-outs."""
    return Core("chat", "eu", None, clock=Time(), phase=0.0, timeouts=timeouts)


def test_they_hold_over_every_table() -> None:
    """A time-out that is set stays whatever the table says; one that is not set follows the table."""
    made = core(Timeouts(first_token=2.5, stale_after=60))
    before = made.settings()
    assert (before.first_token_timeout_ms, before.idle_timeout_ms, before.stale_after_ms) == (
        2_500,
        10_000,
        60_000,
    )
    held = part({"a/r/x": 1_000_000})
    told = Slice(held.pools, held.route, ClientSettings(first_token_timeout_ms=9, idle_timeout_ms=700))
    made.router.apply(generation(told, 1))
    after = made.settings()
    assert (after.first_token_timeout_ms, after.idle_timeout_ms, after.stale_after_ms) == (2_500, 700, 60_000)
    assert core(None).settings() == ClientSettings()


@pytest.mark.parametrize("wrong", [Timeouts(idle=0), Timeouts(first_token=-1), Timeouts(stale_after=1e9)])
def test_times_that_are_none_are_refused(wrong: Timeouts) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match="timeouts: "):
        core(wrong)
