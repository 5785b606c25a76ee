"""Writes what each answer of a provider means into client/README.md: `python -m tools.answers`.

The rows come from the tables that decide it (``tieline.providers.answers``). With `--check` it writes nothing
and exits 1 if the rows there are not those of the tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tieline.blame import Blame
from tieline.events import CONFIGURATION_FAULTS
from tieline.providers.answers import ERRORS, HUNDREDS, STATUS_OF_NAME, STATUSES, Reading, Topic

PAGE = Path(__file__).parents[1] / "client" / "README.md"
BEGIN, END = "<!-- written by tools/answers.py -->\n", "<!-- end of what tools/answers.py writes -->\n"
_MARK = {
    Blame.NOBODY: "none",
    Blame.CALLER: "none",
    Blame.REQUEST: "none, unless five different requests in a row are refused so",
    Blame.MODEL: "avoided for this model",
    Blame.POOL: "counts against its health",
    Blame.ACCOUNT: "avoided, and reported as a fault of configuration",
    Blame.MOMENT: "none",
}
_ELSEWHERE = {
    Topic.CONTEXT: "those whose context is longer, or not stated",
    Topic.PARAMETER: "those not known to refuse it",
}
_STATUS_COLUMNS = ("answer", "it means", "other pools", "the same pool again", "mark on the pool")


def status_rows() -> list[tuple[str, ...]]:
    """One row for each meaning of a status, and one for each hundred of all others."""
    rows: list[tuple[str, ...]] = [
        (", ".join(map(str, row.statuses)), row.meaning, *_cells(row.reading)) for row in STATUSES
    ]
    others = HUNDREDS.items()
    rows += [(f"other {first}xx", meaning, *_cells(reading)) for first, (meaning, reading) in others]
    return rows


def error_rows() -> list[tuple[str, ...]]:
    """One row for each meaning of an error's own names or words."""
    return [
        (
            ", ".join(f"`{name}`" for name in sorted(row.names)) + (" or its words" if row.phrases else ""),
            row.meaning,
            *_cells(row.reading),
        )
        for row in ERRORS
    ]


def name_rows() -> list[tuple[str, ...]]:
    """The names of errors that come without a status, by the status that they stand for."""
    by_status: dict[int, list[str]] = {}
    for name, status in STATUS_OF_NAME.items():
        by_status.setdefault(status, []).append(f"`{name}`")
    return [(str(status), ", ".join(sorted(names))) for status, names in sorted(by_status.items())]


def section() -> str:
    """The three tables as Markdown."""
    return "\n".join(
        [
            _table(_STATUS_COLUMNS, status_rows()),
            "The error in the body says it better where it has one of these codes or types:\n",
            _table(("code or type", *_STATUS_COLUMNS[1:]), error_rows()),
            "An error without a status, inside a stream or an answer with 200, has the status that its code\n"
            "or type names (`503`), or stands for; any other is a 500:\n",
            _table(("status", "codes and types"), name_rows()),
        ]
    )


def written(page: str) -> str:
    """The page with the rows of today. Raises ValueError if their place is not marked."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{section()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Writes, or with --check only looks."""
    page = PAGE.read_text()
    new = written(page)
    if new == page:
        return 0
    if "--check" in arguments:
        print(
            "client/README.md: its rows are not those of the tables: python -m tools.answers", file=sys.stderr
        )
        return 1
    PAGE.write_text(new)
    return 0


def _cells(reading: Reading) -> tuple[str, str, str]:
    """Other pools, the same pool again, the mark."""
    elsewhere = _ELSEWHERE.get(reading.topic, "yes") if reading.topic else "yes"
    if reading.blame is Blame.ACCOUNT and reading.again:
        again = "once, with a new token"
    else:
        again = "after a wait" if reading.again else "no"
    mark = _MARK[reading.blame]
    if reading.blame is Blame.REQUEST and reading.result not in CONFIGURATION_FAULTS:
        mark = "none"
    if reading.topic is Topic.BILLING:
        mark = "as 429; as 402 once it is said for more than 10 s with no success between"
    elif reading.result == "throttled":
        mark = "is sent less"
    return (elsewhere if reading.elsewhere else "no", again, mark)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
