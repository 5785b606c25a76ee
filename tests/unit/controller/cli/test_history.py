"""The history as an operator reads it: within the width of the terminal, and with nothing that it obeys."""

import io

import pytest
from rich.console import Console

from controller.cli.history import HistoryReport, draw, is_routine, lines_of
from controller.cli.terminal import Screen
from controller.history.entries import Entry, LoadMove

NOW_MS = 1_800_000_000_000
POOL = "azure/swedencentral/gpt-4o"
FORCED = Entry(
    NOW_MS,
    "forced_move",
    "table",
    text=f"1,100 tokens/s moved at once, 118 shed: chat 1,100 to {POOL}, batch 118 shed",
    who="controller c0ffee",
    actors=("kim",),
    why=(f"{POOL}: an operator drained it (1,218 units/s)",),
    generation="multicloud-1:5:17",
    moves=(
        LoadMove("chat", POOL, before=0.0, after=1_100.0),
        LoadMove("batch", "", before=0.0, after=118.0),
    ),
)


def drawn(report: HistoryReport, *, is_selective: bool = False) -> str:
    """What an operator sees on 80 columns."""
    out = io.StringIO()
    console: Console = Screen(file=out, width=80)
    draw(report, console, is_selective=is_selective)
    return out.getvalue()


def test_an_entry_says_when_what_who_and_why() -> None:
    """The day once, then each entry, with what moved from where to where."""
    assert drawn(HistoryReport(0, NOW_MS, None, entries=(FORCED,))).splitlines() == [
        "2027-01-15 (UTC)",
        "08:00:00 forced move 1,100 tokens/s moved at once, 118 shed: chat 1,100 to",
        "                       azure/swedencentral/gpt-4o, batch 118 shed",
        "                     by controller c0ffee, on the orders of kim,",
        "                       multicloud-1:5:17",
        "                     chat azure/swedencentral/gpt-4o: 0 -> 1,100",
        "                     batch shed: 0 -> 118",
        "                     why: azure/swedencentral/gpt-4o: an operator drained it",
        "                       (1,218 units/s)",
    ]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_lines_fit_the_terminal(width: int) -> None:
    """Only a name that is longer than a line may stand out."""
    assert all(len(line) <= max(width, 60) for line in lines_of(FORCED, width))


def test_nothing_is_said_in_a_line() -> None:
    """Also whether it was looked for, and from when on records are kept."""
    empty = HistoryReport(NOW_MS - 60_000, NOW_MS, None, entries=())
    assert drawn(empty) == "nothing happened between 2027-01-15 07:59:00 UTC and 2027-01-15 08:00:00 UTC\n"
    assert drawn(empty, is_selective=True).startswith("nothing of what was asked for happened between")
    cut = HistoryReport(0, NOW_MS, NOW_MS - 60_000, entries=())
    assert drawn(cut).startswith(
        "the history begins at 2027-01-15 07:59:00 UTC: what was before is no longer kept\n"
    )


def test_a_terminal_obeys_no_operators_words() -> None:
    """Control characters of a reason are not drawn."""
    hostile = Entry(NOW_MS, "order", "azure", text="drain azure", who="kim\x1b[2J", why=("a\x07b",))
    assert not {"\x1b", "\x07"} & set(drawn(HistoryReport(0, NOW_MS, None, entries=(hostile,))))


def test_what_is_of_no_interest_is_shown_on_demand() -> None:
    """Tables that move nothing, and the end of an announcement, which the order's own end tells."""
    ends = Entry(NOW_MS, "expiring", "azure", text="over", phase="ends")
    assert is_routine(ends)
    assert is_routine(Entry(NOW_MS, "upkeep", "table", text="a new table that moves no load"))
    assert not is_routine(FORCED)
