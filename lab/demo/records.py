"""PURE: what a calling application notes about itself, one JSON line each, and how the notes are read again.

A request is noted when it starts and when it ends, so a request that never ended shows as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

CallOutcome: TypeAlias = Literal["ok", "shed", "failed"]


class RequestStart(Struct, frozen=True, tag_field="event", tag="began"):
    """The application sends a request. ``tokens``: of the prompt and of the longest answer, together."""

    id: str
    at_ms: int
    workload: str
    origin: str
    stream: bool
    tokens: int


class RequestEnd(Struct, frozen=True, tag_field="event", tag="ended", omit_defaults=True):
    """How the request ended. ``attempts``: those of the client library for the last sending.

    ``sendings``: how often the application sent it; more than once when a stream broke after its first token.
    """

    id: str
    at_ms: int
    outcome: CallOutcome
    status: int | None = None
    pool: str = ""
    attempts: int = 0
    sendings: int = 1
    took_ms: int = 0
    first_token_ms: int | None = None
    generation: str = ""
    why: str = ""


class PoolAttempt(Struct, frozen=True, tag_field="event", tag="tried"):
    """The client library sends an attempt to a pool."""

    at_ms: int
    pool: str


class TableApplied(Struct, frozen=True, tag_field="event", tag="applied"):
    """A table is in force in one client from now on."""

    at_ms: int
    workload: str
    generation: str
    urgent: bool


class ClientStatus(Struct, frozen=True, tag_field="event", tag="status", omit_defaults=True):
    """What a client says of itself, at every change and once a second."""

    at_ms: int
    workload: str
    state: str
    generation: str = ""
    age_ms: int | None = None
    error: str = ""


CallerNote: TypeAlias = RequestStart | RequestEnd | PoolAttempt | TableApplied | ClientStatus
_decoder = msgspec.json.Decoder(CallerNote)
_encoder = msgspec.json.Encoder()


def encode(note: CallerNote) -> bytes:
    """One line, its line break included."""
    return _encoder.encode(note) + b"\n"


def parse(data: bytes) -> list[CallerNote]:
    """The whole lines in ``data``. Half a last line, of a process that was killed, is left out."""
    whole, _, _ = data.rpartition(b"\n")
    return [_decoder.decode(line) for line in whole.split(b"\n") if line]


class Calls(Struct, frozen=True):
    """The notes of all callers of a run, by kind; starts and ends by the request's id."""

    starts: dict[str, RequestStart]
    ends: dict[str, RequestEnd]
    attempts: tuple[PoolAttempt, ...]
    applied: tuple[TableApplied, ...]
    statuses: tuple[ClientStatus, ...]


def collect(notes: Iterable[CallerNote]) -> Calls:
    """Sorts the notes of any number of callers by kind."""
    starts: dict[str, RequestStart] = {}
    ends: dict[str, RequestEnd] = {}
    attempts: list[PoolAttempt] = []
    applied: list[TableApplied] = []
    statuses: list[ClientStatus] = []
    for note in notes:
        match note:
            case RequestStart():
                starts[note.id] = note
            case RequestEnd():
                ends[note.id] = note
            case PoolAttempt():
                attempts.append(note)
            case TableApplied():
                applied.append(note)
            case ClientStatus():
                statuses.append(note)
    return Calls(
        starts=starts,
        ends=ends,
        attempts=tuple(attempts),
        applied=tuple(applied),
        statuses=tuple(statuses),
    )
