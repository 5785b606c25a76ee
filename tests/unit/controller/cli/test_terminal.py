"""What commands share at the terminal: instants as an operator types and reads them, and the width."""

import os
import subprocess
import sys

import pytest

from controller.cli.terminal import instant_ms, rfc3339
from controller.process.errors import UserError

NOW_MS = 1_800_000_000_000
DRAW = "from controller.cli.terminal import screen; print(screen().width)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW_MS),
        ("-10m", NOW_MS - 600_000),
        ("-2d", NOW_MS - 172_800_000),
        ("+3h", NOW_MS + 10_800_000),
        ("1799999999999", NOW_MS - 1),
        ("2027-01-15T08:00:00Z", NOW_MS),
        ("07:59", NOW_MS - 60_000),
        ("8:00:00", NOW_MS),
        ("08:00:01", NOW_MS + 1_000 - 86_400_000),
        ("2027-01-15T09:00:00+01:00", NOW_MS),
    ],
)
def test_each_way_to_say_an_instant(text: str, expected: int) -> None:
    """Now, so long ago, epoch milliseconds, RFC 3339, or the last time at which a clock in UTC showed it."""
    assert instant_ms(text, NOW_MS, "--from") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "10m", "12", "25:00", "2027-01-15T08:00:00", "-m"])
def test_anything_else_is_refused_with_what_to_give(text: str) -> None:
    """An instant without a zone or unit is never guessed at."""
    with pytest.raises(UserError, match=r"--from .*RFC 3339 with its zone"):
        instant_ms(text, NOW_MS, "--from")


def test_instants_are_said_in_utc_to_the_millisecond() -> None:
    """The way back."""
    assert rfc3339(NOW_MS + 7) == "2027-01-15T08:00:00.007Z"
    assert instant_ms(rfc3339(NOW_MS + 7), 0, "--to") == NOW_MS + 7


@pytest.mark.parametrize(("columns", "width"), [({}, 160), ({"COLUMNS": "90"}, 90)])
def test_a_pipe_is_wide_enough_for_whole_names(columns: dict[str, str], width: int) -> None:
    """Without a terminal nothing says how wide it is; COLUMNS does, where it is set."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | columns
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) == width
