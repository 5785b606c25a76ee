"""The production trace that the demo replays: when each request arrives, and how large it is.

``examples/trace/README.md`` describes the sample and its licence. Everything but ``read`` is PURE.
"""

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from controller.process.errors import UserError
from lab.demo.examples import example

SAMPLE: Final = "trace/azure-llm-2023-conv-sample.csv.gz"
ROWS_MAX: Final = 1_000_000
_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
_SECONDS_FRACTION_DIGITS = 6


class TraceRequest(NamedTuple):
    """One request: seconds after the first, tokens of its prompt, tokens of its answer."""

    offset_s: float
    context_tokens: int
    generated_tokens: int


class TraceError(UserError):
    """The trace can't be used; the message names the place and what is wrong there."""


def read(path: Path | None = None) -> tuple[TraceRequest, ...]:
    """Reads a trace from a CSV file, gzipped or not; by default the sample. Raises TraceError."""
    path = path or example(SAMPLE)
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                return parse(lines, path.name)
        with path.open(encoding="utf-8") as lines:
            return parse(lines, path.name)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} can't be read: {error}") from None


def parse(lines: Iterable[str], place: str) -> tuple[TraceRequest, ...]:
    """The requests of a trace, their offsets counted from the first.

    Raises TraceError with the line's number.

    Rows must be in the order of their arrival, because a replay sends them in the order of the file.
    """
    numbered = enumerate((line.strip() for line in lines), start=1)
    _, header = next(numbered, (1, ""))
    if header != _HEADER:
        raise TraceError(f"{place}, line 1: the header must be {_HEADER}")
    requests: list[TraceRequest] = []
    first: datetime | None = None
    for number, line in numbered:
        if not line:
            continue
        if len(requests) >= ROWS_MAX:
            raise TraceError(f"{place} has more than {ROWS_MAX} requests: cut it")
        arrived, context_tokens, generated_tokens = _row(line, f"{place}, line {number}")
        first = first or arrived
        request = TraceRequest((arrived - first).total_seconds(), context_tokens, generated_tokens)
        if requests and request.offset_s < requests[-1].offset_s:
            raise TraceError(
                f"{place}, line {number}: it arrives before the line above it; sort the file by time"
            )
        requests.append(request)
    if not requests:
        raise TraceError(f"{place} has no request")
    return tuple(requests)


def _row(line: str, place: str) -> tuple[datetime, int, int]:
    fields = line.split(",")
    try:
        stamp, context, generated = fields
        whole, _, fraction = stamp.partition(".")
        arrived = datetime.fromisoformat(f"{whole}.{fraction[:_SECONDS_FRACTION_DIGITS]:0<6}")
        tokens = int(context), int(generated)
    except ValueError:
        raise TraceError(f"{place}: it must have the fields {_HEADER}, and is {line[:80]!r}") from None
    if min(tokens) < 0:
        raise TraceError(f"{place}: the numbers of tokens must not be below zero")
    return arrived.replace(tzinfo=UTC), *tokens


def begin_at(requests: Sequence[TraceRequest], first: int) -> tuple[TraceRequest, ...]:
    """The requests from row ``first`` on, offsets counted from it; all requests if there is no such row."""
    rest = requests[first:] or requests
    return tuple(request._replace(offset_s=request.offset_s - rest[0].offset_s) for request in rest)


def rate_per_s(requests: Sequence[TraceRequest]) -> float:
    """Mean requests/s of a trace whose first offset is 0."""
    return len(requests) / max(requests[-1].offset_s, 1.0)


def replay(
    requests: Sequence[TraceRequest], *, rate_factor: float = 1.0, duration_s: float = math.inf
) -> Iterator[TraceRequest]:
    """The requests at ``rate_factor`` times their rate for ``duration_s``, repeated if the trace is shorter.

    Time is compressed, so bursts stay bursts; sizes stay as they are. Without a duration the trace is played
    once. Raises ValueError for a rate that is not above zero.
    """
    if not 0 < rate_factor < math.inf:
        raise ValueError("rate_factor must be above zero")
    turn_s = _turn_s(requests)
    turns = 1 if math.isinf(duration_s) else math.ceil(duration_s * rate_factor / turn_s)
    for turn in range(turns):
        for request in requests:
            offset_s = (turn * turn_s + request.offset_s) / rate_factor
            if offset_s >= duration_s:
                return
            yield request._replace(offset_s=offset_s)


def _turn_s(requests: Sequence[TraceRequest]) -> float:
    """How long one turn takes: until the last arrival, and a mean gap after it."""
    last_s = requests[-1].offset_s
    gap_s = last_s / (len(requests) - 1) if len(requests) > 1 and last_s > 0 else 1.0
    return last_s + gap_s


def mean_tokens(requests: Sequence[TraceRequest]) -> float:
    """Mean size of a request, prompt and answer together."""
    return sum(request.context_tokens + request.generated_tokens for request in requests) / len(requests)
