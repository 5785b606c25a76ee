"""What `tieline status --watch` shows and what each key does, as values. Pure: ``watch`` has the terminal.

A ``View`` is everything that the operator has chosen: which table, sorted how, filtered by what, which row is
selected. ``pressed`` gives the view after a key, ``frame`` the lines of the screen. The selection is a name,
not a line, so that it stays on its pool while rows move.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text

from controller.cli.status_tables import pool_cells, route_cells
from controller.cli.tables import WIDE_COLUMNS, is_number
from controller.status.gather import Status
from controller.status.head import head
from controller.status.words import utc

Tables = Literal["pools", "routes"]
Asks = Literal["", "quit", "explain"]
FILTER_MAX = 60
NOTHING = ("", "-")
HEAD_SHARE = 3  # the head takes at most one line in so many
KEYS = "↑↓ select  enter explain  / filter  s sort  r reverse  tab pools/routes  q quit"
DETAIL_KEYS = "↑↓ scroll  esc back  q quit"


class View(Struct, frozen=True):
    """What the operator has chosen. ``asks``: what a key asked of the terminal, for its next step only.

    ``sort``: the number of the column, ``selected``: the name of a row, empty for the first. ``detail``:
    the lines of an explanation in the place of the table, and ``top`` the first of them that is shown.
    """

    table: Tables = "pools"
    sort: int = 0
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    selected: str = ""
    detail: tuple[str, ...] | None = None
    top: int = 0
    asks: Asks = ""


class Rows(Struct, frozen=True):
    """The rows of the chosen table, sorted and filtered, with their headings. A row begins with its name."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]

    @property
    def names(self) -> list[str]:
        """The names in the order of the rows."""
        return [row[0].plain for row in self.rows]


def rows_of(status: Status, view: View, *, is_wide: bool) -> Rows:
    """The rows that the view lets through, in its order. Numbers sort as numbers; what is not known comes
    last."""
    headings, cells = (pool_cells if view.table == "pools" else route_cells)(status, is_wide=is_wide)
    wanted = view.filter.lower()
    rows = [row for row in cells if any(wanted in cell.plain.lower() for cell in row)]
    column = view.sort % len(headings)
    rows.sort(key=lambda row: _sort_key(row[column].plain), reverse=view.reverse)
    rows.sort(key=lambda row: row[column].plain in NOTHING)  # a stable sort, so the others keep their order
    return Rows(headings, tuple(rows))


def pressed(view: View, key: str, rows: Rows, page: int) -> View:
    """The view after one key. ``page``: how many rows the screen shows."""
    view = replace(view, asks="")
    if view.typing:
        return _typed(view, key)
    if key == "q":
        return replace(view, asks="quit")
    if view.detail is not None:
        return _in_detail(view, key, page)
    if key in _MOVES:
        return replace(view, selected=_moved(rows.names, view.selected, _MOVES[key](page)))
    if key == "enter":
        selected = _selected(rows.names, view.selected)
        return replace(view, selected=selected, asks="explain" if selected else "")
    change = _CHANGES.get(key)
    return change(view, rows) if change is not None else view


def frame(status: Status, view: View, width: int, height: int) -> list[Text]:
    """The lines of the screen, at most ``height``, each at most ``width`` columns wide."""
    lines = [_cut(Text(f"tieline status  {utc(status.at_ms)}", style="reverse"), width, pad=True)]
    heads = [_cut(Text(line.text, style=line.style), width) for line in head(status)]
    room = max(height // HEAD_SHARE, 2)
    lines += heads[:room]
    if len(heads) > room:
        more = Text(f"and {len(heads) - room + 1} lines more: see `tieline status`", style="yellow")
        lines[-1] = _cut(more, width)
    body = max(height - len(lines) - 2, 1)
    if view.detail is not None:
        lines += [Text(), *(_cut(Text(text), width) for text in view.detail[view.top : view.top + body])]
    else:
        lines += _table(rows_of(status, view, is_wide=width >= WIDE_COLUMNS), view, width, body)
    lines = lines[: max(height - 1, 1)]
    lines += [Text()] * (height - 1 - len(lines))
    return [*lines, _cut(_footer(view), width)][:height]


def page_rows(status: Status, height: int) -> int:
    """How many rows of the table a screen of this height shows."""
    return max(height - 3 - min(len(head(status)), max(height // HEAD_SHARE, 2)), 1)


def _table(rows: Rows, view: View, width: int, body: int) -> list[Text]:
    """The headings and as many rows as there is room for, around the selected one."""
    sort = view.sort % len(rows.headings)
    titles = [
        f"{heading}{'' if number != sort else '▼' if view.reverse else '▲'}"
        for number, heading in enumerate(rows.headings)
    ]
    widths = [
        max([cell_len(title), *(row[number].cell_len for row in rows.rows)])
        for number, title in enumerate(titles)
    ]
    lines = [_cut(_joined([Text(title) for title in titles], widths, rows.headings, style="bold"), width)]
    if not rows.rows:
        nothing = f"no {view.table} match {view.filter!r}" if view.filter else f"no {view.table}"
        return [*lines, _cut(Text(nothing), width)]
    names = rows.names
    selected = names.index(_selected(names, view.selected))
    room = max(body - 1, 1)
    first = min(max(selected - room // 2, 0), max(len(names) - room, 0))
    for number, row in enumerate(rows.rows[first : first + room], start=first):
        style = "reverse" if number == selected else ""
        lines.append(_cut(_joined(row, widths, rows.headings, style=style), width, pad=number == selected))
    return lines


def _joined(row: Sequence[Text], widths: Sequence[int], headings: Sequence[str], *, style: str) -> Text:
    line = Text(style=style)
    for cell, room, heading in zip(row, widths, headings, strict=True):
        gap = " " * (room - cell.cell_len)
        line.append_text(Text(gap) + cell if is_number(heading) else cell + Text(gap)).append("  ")
    line.rstrip()
    return line


def _cut(line: Text, width: int, *, pad: bool = False) -> Text:
    """One line of at most this width, whatever line ends its text has."""
    line = Text.assemble(line) if "\n" not in line.plain else Text(" ".join(line.plain.split()), line.style)
    line.truncate(width, overflow="ellipsis", pad=pad)
    return line


def _footer(view: View) -> Text:
    if view.typing:
        return Text(f"filter: {view.filter}▏  (enter keeps it, esc clears it)", style="cyan")
    if view.detail is not None:
        return Text(DETAIL_KEYS, style="dim")
    return Text(f"filter: {view.filter}   {KEYS}" if view.filter else KEYS, style="dim")


def _sort_key(text: str) -> tuple[bool, float, str]:
    """Numbers before texts."""
    try:
        return False, float(text.replace(",", "").removesuffix("%")), text
    except ValueError:
        return True, 0.0, text


def _selected(names: Sequence[str], name: str) -> str:
    """The selected name if it is shown, else the first; empty if nothing is."""
    return name if name in names else names[0] if names else ""


def _moved(names: Sequence[str], name: str, by: int) -> str:
    if not names:
        return ""
    place = names.index(_selected(names, name)) + by
    return names[min(max(place, 0), len(names) - 1)]


def _typed(view: View, key: str) -> View:
    """The filter while it is typed."""
    if key == "enter":
        return replace(view, typing=False)
    if key == "escape":
        return replace(view, typing=False, filter="")
    if key == "backspace":
        return replace(view, filter=view.filter[:-1])
    return replace(view, filter=(view.filter + key)[:FILTER_MAX]) if len(key) == 1 else view


def _in_detail(view: View, key: str, page: int) -> View:
    if key in ("escape", "enter", "backspace"):
        return replace(view, detail=None, top=0)
    last = max(len(view.detail or ()) - page, 0)
    by = _MOVES[key](page) if key in _MOVES else 0
    return replace(view, top=min(max(view.top + by, 0), last))


_MOVES: Mapping[str, Callable[[int], int]] = {
    "up": lambda _: -1,
    "k": lambda _: -1,
    "down": lambda _: 1,
    "j": lambda _: 1,
    "pageup": lambda page: -page,
    "pagedown": lambda page: page,
    "home": lambda _: -1_000_000,
    "g": lambda _: -1_000_000,
    "end": lambda _: 1_000_000,
    "G": lambda _: 1_000_000,
}
_CHANGES: Mapping[str, Callable[[View, Rows], View]] = {
    "s": lambda view, rows: replace(view, sort=(view.sort + 1) % len(rows.headings)),
    "r": lambda view, _: replace(view, reverse=not view.reverse),
    "/": lambda view, _: replace(view, typing=True),
    "escape": lambda view, _: replace(view, filter=""),
    "tab": lambda view, _: View("routes" if view.table == "pools" else "pools", filter=view.filter),
}
