"""Instants as an operator types them."""

import pytest

from controller.cli.instants import instant_ms, rfc3339
from controller.process.errors import UserError

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW_MS),
        ("-10m", NOW_MS - 600_000),
        ("-2d", NOW_MS - 172_800_000),
        ("1799999999999", NOW_MS - 1),
        ("2027-01-15T08:00:00Z", NOW_MS),
        ("2027-01-15T09:00:00+01:00", NOW_MS),
    ],
)
def test_each_way_to_say_an_instant(text: str, expected: int) -> None:
    """Now, so long ago, epoch milliseconds, RFC 3339."""
    assert instant_ms(text, NOW_MS, "--from") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10m", "12", "2027-01-15T08:00:00", "-m"])
def test_anything_else_is_refused_with_what_to_give(text: str) -> None:
    """An instant without a zone or unit is never guessed at."""
    with pytest.raises(UserError, match=r"--from .*RFC 3339 with its zone"):
        instant_ms(text, NOW_MS, "--from")


def test_instants_are_said_in_utc_to_the_millisecond() -> None:
    """The way back."""
    assert rfc3339(NOW_MS + 7) == "2027-01-15T08:00:00.007Z"
    assert instant_ms(rfc3339(NOW_MS + 7), 0, "--to") == NOW_MS + 7
