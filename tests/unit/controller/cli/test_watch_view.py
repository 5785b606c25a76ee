"""What the watching status shows, and what each key does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.cli.keyboard import KeyReader
from controller.cli.watch_view import Rows, View, frame, pressed, rows_of
from controller.status.gather import Status
from controller.status.overview import Overview, PoolRow, RouteRow

NOW_MS = 1_800_000_000_000
POOLS = (
    PoolRow("azure/eu/gpt", 0.5, "healthy", load_units_per_s=9.0, why="requests succeed there"),
    PoolRow("azure/us/gpt", 0.1, "down", load_units_per_s=1_200.0, why="nobody answers"),
    PoolRow("gcp/eu/gemini", 0.4, "healthy", load_units_per_s=None, why="requests succeed there"),
)
ROUTES = (RouteRow("chat/eu", {"azure/eu/gpt": 0.6, "gcp/eu/gemini": 0.4}, 0.0, criticality="critical"),)
STATUS = Status("l:7:3", NOW_MS, NOW_MS, None, "0f", None, Overview((), POOLS, ROUTES))


def shown(view: View) -> Rows:
    return rows_of(STATUS, view, is_wide=False)


def after(view: View, *keys: str) -> View:
    """The view after these keys, on a screen of two rows."""
    for key in keys:
        view = pressed(view, key, shown(view), 2)
    return view


def text(view: View, width: int = 60, height: int = 12, status: Status = STATUS) -> list[str]:
    """The lines of the screen as a reader sees them."""
    lines = frame(status, view, width, height)
    assert len(lines) == height
    assert all(line.cell_len <= width and "\n" not in line.plain for line in lines)
    return [line.plain.rstrip() for line in lines]


def test_numbers_sort_as_numbers_and_unknown_ones_come_last() -> None:
    """1,200 is more than 9, and what is not known is not the least."""
    view = after(View(), "s", "s")
    assert shown(view).headings[view.sort] == "load/s"
    assert shown(view).names == ["azure/eu/gpt", "azure/us/gpt", "gcp/eu/gemini"]
    assert shown(after(view, "r")).names == ["azure/us/gpt", "azure/eu/gpt", "gcp/eu/gemini"]


def test_a_filter_looks_at_every_column() -> None:
    """It counts while it is typed; enter keeps it, escape clears it."""
    view = after(View(), "/", *"DOWN")
    assert view.typing
    assert shown(view).names == ["azure/us/gpt"]
    kept = after(view, "enter")
    assert (kept.typing, kept.filter, kept.asks) == (False, "DOWN", "")
    assert "filter: DOWN" in text(kept)[-1]
    assert after(kept, "escape").filter == ""
    assert "no pools match 'DOWNx'" in "\n".join(text(after(view, "x")))


def test_a_letter_in_the_filter_is_no_key() -> None:
    """Who filters by `q` does not quit."""
    assert after(View(), "/", "q").asks == ""
    assert after(View(), "/", "q", "backspace", "escape", "q").asks == "quit"


def test_the_selection_stays_on_its_pool_while_rows_move() -> None:
    """It is a name: sorting takes it along, and a pool that is filtered away gives way to the first."""
    view = after(View(), "down")
    assert view.selected == "azure/us/gpt"
    assert after(view, "s", "r").selected == "azure/us/gpt"
    assert after(view, "/", *"gemini", "enter", "enter").selected == "gcp/eu/gemini"


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        (("up",), "azure/eu/gpt"),
        (("j", "j", "j", "j"), "gcp/eu/gemini"),
        (("pagedown",), "gcp/eu/gemini"),
        (("end", "home"), "azure/eu/gpt"),
        (("G", "k"), "azure/us/gpt"),
    ],
)
def test_keys_move_the_selection_within_the_rows(keys: tuple[str, ...], selected: str) -> None:
    """Arrows, letters as in vi, pages, and both ends."""
    assert after(View(), *keys).selected == selected


def test_enter_asks_for_an_explanation_of_the_selected_row() -> None:
    """The terminal works it out; keys then scroll it, and escape leads back to the table."""
    view = after(View(), "down", "enter")
    assert (view.asks, view.selected) == ("explain", "azure/us/gpt")
    detail = replace(view, detail=("one", "two", "three", "four"))
    assert "one" not in text(after(detail, "down"))
    assert "two" in text(after(detail, "down"))
    assert after(detail, "down", "down", "down", "down").top == 2
    assert after(detail, "escape").detail is None
    assert after(detail, "q").asks == "quit"


def test_nothing_is_explained_where_nothing_is_shown() -> None:
    """An empty table has no row to explain."""
    assert after(View(filter="nothing"), "enter", "down").asks == ""


def test_tab_shows_routes() -> None:
    """Each with what is shed and by whom it is carried; the filter stays."""
    view = after(View(), "/", *"eu", "enter", "tab")
    assert (view.table, view.filter) == ("routes", "eu")
    assert any(line.startswith("chat/eu  critical") and "azure/eu/gpt 60%" in line for line in text(view, 80))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 4), (60, 5), (200, 50)])
def test_every_size_of_terminal_has_its_screen(width: int, height: int) -> None:
    """No line is too wide, none is too much, and the selected row is among them where there is room."""
    status = replace(STATUS, missing=("first\nline", *(f"trouble {number}" for number in range(20))))
    for view in (View(), View(selected="gcp/eu/gemini"), View("routes"), View(detail=("a",) * 99, top=98)):
        text(view, width, height, status)
    assert height < 5 or any(
        "gcp/eu/gemini" in line for line in text(View(selected="gcp/eu/gemini"), width, height)
    )


def test_a_head_that_is_too_long_says_so() -> None:
    """What is left out is counted."""
    status = replace(STATUS, missing=tuple(f"trouble {number}" for number in range(20)))
    assert "lines more: see `tieline status`" in "\n".join(text(View(), status=status))


@pytest.mark.parametrize(
    ("pieces", "keys"),
    [
        ([b"sq\r"], ["s", "q", "enter"]),
        ([b"\x1b[A\x1bOB\x1b[5~"], ["up", "down", "pageup"]),
        ([b"\x1b", b"[", b"A"], ["up"]),
        ([b"\x1b"], ["escape"]),
        ([b"\x1b\x1b[B"], ["escape", "down"]),
        ([b"\x1bq"], ["escape", "q"]),
        ([b"\x1b[1;5A", b"x"], ["x"]),
        ([b"\x1b[99"], []),
        (["é".encode()[:1], "é".encode()[1:]], ["é"]),
        ([b"\xff\x00\x07"], []),
    ],
)
def test_keys_are_named_however_they_arrive(pieces: list[bytes], keys: list[str]) -> None:
    """Sequences may come in pieces; unknown ones and control characters are no keys."""
    reader = KeyReader()
    assert [key for piece in pieces for key in reader.read(piece)] + reader.flush() == keys
    assert not reader.waits
