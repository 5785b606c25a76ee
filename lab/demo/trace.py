"""The production trace that the demo replays: when each request arrives, and how large it is.

The sample is described, with its licence, in ``examples/trace/README.md``. Everything but ``read`` is pure.
"""

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

SAMPLE: Final = Path(__file__).parents[2] / "examples" / "trace" / "azure-llm-2023-conv-sample.csv.gz"
ROWS_MAX: Final = 1_000_000
_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
_SECONDS_FRACTION_DIGITS = 6


class TraceRequest(NamedTuple):
    """One request: seconds after the first, tokens of its prompt, tokens of its answer."""

    offset_s: float
    context_tokens: int
    generated_tokens: int


class TraceError(ValueError):
    """The trace can't be used; the message is one sentence with place and fault."""


def read(path: Path = SAMPLE) -> tuple[TraceRequest, ...]:
    """A trace from a CSV file, gzipped or not. Raises TraceError."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                return parse(lines, path.name)
        with path.open(encoding="utf-8") as lines:
            return parse(lines, path.name)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path} can't be read: {error}.") from None


def parse(lines: Iterable[str], place: str) -> tuple[TraceRequest, ...]:
    """Rows of a trace, offsets counted from the first. Raises TraceError with the line's number.

    Rows must be in the order of their arrival: a replay that waited for an earlier one would shift the rest.
    """
    numbered = enumerate((line.strip() for line in lines), start=1)
    _, header = next(numbered, (1, ""))
    if header != _HEADER:
        raise TraceError(f"{place}, line 1: expected the header {_HEADER}.")
    requests: list[TraceRequest] = []
    first: datetime | None = None
    for number, line in numbered:
        if not line:
            continue
        if len(requests) >= ROWS_MAX:
            raise TraceError(f"{place}: more than {ROWS_MAX} requests.")
        arrived, context_tokens, generated_tokens = _row(line, f"{place}, line {number}")
        first = first or arrived
        request = TraceRequest((arrived - first).total_seconds(), context_tokens, generated_tokens)
        if requests and request.offset_s < requests[-1].offset_s:
            raise TraceError(f"{place}, line {number}: arrives before the line above it.")
        requests.append(request)
    if not requests:
        raise TraceError(f"{place} holds no request.")
    return tuple(requests)


def _row(line: str, place: str) -> tuple[datetime, int, int]:
    fields = line.split(",")
    try:
        stamp, context, generated = fields
        whole, _, fraction = stamp.partition(".")
        arrived = datetime.fromisoformat(f"{whole}.{fraction[:_SECONDS_FRACTION_DIGITS]:0<6}")
        tokens = int(context), int(generated)
    except ValueError:
        raise TraceError(f"{place}: expected {_HEADER}, found {line[:80]!r}.") from None
    if min(tokens) < 0:
        raise TraceError(f"{place}: tokens below zero.")
    return arrived.replace(tzinfo=UTC), *tokens


def replay(
    requests: Sequence[TraceRequest], *, rate_factor: float = 1.0, duration_s: float = math.inf
) -> Iterator[TraceRequest]:
    """The requests at ``rate_factor`` times their rate for ``duration_s``, from the start again if need be.

    Time is compressed, so that bursts stay bursts; sizes stay as they are. Without a duration the trace is
    played once. Raises ValueError for a rate that is not above zero.
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
    """How long one playing takes: to the last arrival, and the mean gap after it."""
    last_s = requests[-1].offset_s
    gap_s = last_s / (len(requests) - 1) if len(requests) > 1 and last_s > 0 else 1.0
    return last_s + gap_s


def tokens_per_s(requests: Sequence[TraceRequest]) -> float:
    """Mean load of the whole trace, prompt and answer together."""
    return sum(request.context_tokens + request.generated_tokens for request in requests) / _turn_s(requests)


def mean_tokens(requests: Sequence[TraceRequest]) -> float:
    """Mean size of a request, prompt and answer together."""
    return sum(request.context_tokens + request.generated_tokens for request in requests) / len(requests)
