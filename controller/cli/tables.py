"""Tables that fit a terminal: names stay whole, and only the last cell of a row may be cut."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

WIDE_COLUMNS = 110  # from here on a terminal has room for columns that can be missed
GAP = 2  # between two columns
_NUMBERS = ("weight", "ends in", "of", "shed")  # and all that is per second


def is_number(heading: str) -> bool:
    """Whether the column of this heading holds numbers, which are set to the right."""
    return heading in _NUMBERS or "/s" in heading


def fitted_table(title: str, headings: Sequence[str], rows: Sequence[tuple[Text, ...]], width: int) -> Table:
    """A table of these cells within ``width`` columns. Columns of numbers are set to the right."""
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    widths = [
        max([cell_len(heading), *(row[column].cell_len for row in rows)])
        for column, heading in enumerate(headings[:-1])
    ]
    for heading in headings:
        table.add_column(heading, justify="right" if is_number(heading) else "left", no_wrap=True)
    left = max(width - sum(widths) - len(widths) * GAP, len(headings[-1]))
    for row in rows:
        row[-1].truncate(left, overflow="ellipsis")
        table.add_row(*row)
    return table
