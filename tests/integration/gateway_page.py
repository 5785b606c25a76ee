"""docs/gateway-outcomes.md: what callers of a gateway get, fault by fault, as a run of the matrix showed.

It is written by ``MATRIX=whole script/test tests/integration/test_gateway_matrix.py``, and each cell must be
what outcomes.md says of the client library, in the words of a gateway (``allowed``).
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from tests.integration.matrix_calls import TIMED_OUT
from tests.integration.matrix_drivers import DRIVERS
from tests.integration.matrix_table import Row
from tests.places import ROOT

PAGE = ROOT / "docs" / "gateway-outcomes.md"
COLUMNS = ("text", "chat stream", "responses stream", "costly", "sound", "media stream", "keep")
_HEAD = """# What callers of the gateway get, fault by fault

Each row is a fault of the pool that has all weight; `everywhere`: of the other pool too. Each column is a
kind of request, and each cell says what the caller got, from which pool (`faulty`, `other`) and after how
many attempts. The openai SDKs of Python and npm with their own retries, a plain client (httpx2) and curl all
got the same, unless a cell names them. The words are those of `tests/integration/outcomes.md`, the table of
the client library.

| column | requests |
|---|---|
| text | whole answers of chat, completions, responses, embeddings and moderations |
| chat stream | streams of chat and completions |
| responses stream | streams of the responses API |
| costly | whole answers of images, image edits and transcriptions, with a deadline of 5 s |
| sound | speech, with the same deadline: handed on as it comes, from its first byte |
| media stream | streams of images, image edits, transcriptions and speech |
| keep | uploads of files |

Two things differ from the client library:

- Where the client library raises the time-out of the HTTP library (`timed out` there), a gateway answers 504,
  or breaks an answer that it has begun to hand on.
- The SDK of npm raises `APIConnectionError` (`broken`) for an error event in the flat shape
  (`{"type": "error", "code": ...}`), where the one of Python raises `APIError` (`error`).

`out` at the end says that the gateway avoids the pool, or its model, from then on. `-` was not tried.

"""


class Cell(NamedTuple):
    """A place of the table. ``order``: the fault as JSON."""

    order: str
    everywhere: bool
    column: str

    @classmethod
    def of(cls, row: Row, column: str) -> Self:
        """The cell of this row."""
        return cls(json.dumps(row.order), row.everywhere, column)


def allowed(row: Row, column: str, driver: str) -> frozenset[str]:
    """The outcomes that a driver may have where outcomes.md has this row."""
    outcome = row.outcomes[column]
    if outcome == TIMED_OUT:
        return frozenset({"504 faulty 1", "broken"})
    is_flat = (row.order or {}).get("shape") == "flat"
    if is_flat and driver == "npm sdk":
        return frozenset({outcome, outcome.replace("error", "broken")})
    return frozenset({outcome})


def page(table: Sequence[Row], cells: Mapping[Cell, Mapping[str, set[str]]]) -> str:
    """The page. ``cells``: what each driver got in each cell that was tried."""
    lines = [_line(("fault", *COLUMNS)), "|---" * (len(COLUMNS) + 1) + "|"]
    for row in table:
        outcomes = (_words(cells.get(Cell.of(row, column), {})) for column in COLUMNS)
        lines.append(_line((_fault(row), *outcomes)))
    return _HEAD + "\n".join(lines) + "\n"


def words_in(text: str) -> list[list[str]]:
    """The cells of the page's table, the titles first."""
    lines = [line for line in text.partition("| fault |")[2].splitlines()[2:] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def _fault(row: Row) -> str:
    if row.order is None:
        return "none"
    fields = {name: value for name, value in row.order.items() if name != "kind"}
    text = f"{row.order['kind']} {json.dumps(fields) if fields else ''}".strip()
    return f"`{text}`{' everywhere' if row.everywhere else ''}"


def _words(outcomes: Mapping[str, set[str]]) -> str:
    """What all drivers got, or else each by its name."""
    if not outcomes:
        return "-"
    texts = {driver: " or ".join(sorted(outcomes[driver])) for driver in DRIVERS if driver in outcomes}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{driver}: {text}" for driver, text in texts.items())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
