"""PURE: what a caller writes down of itself, one JSON line each, and reading it again.

A request is noted when it begins and when it ends, so that one that never ended shows as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

Outcome: TypeAlias = Literal["ok", "shed", "failed"]


class Began(Struct, frozen=True, tag_field="event", tag="began"):
    """A request goes out."""

    id: str
    at_ms: int
    workload: str
    origin: str
    stream: bool
    tokens: int


class Ended(Struct, frozen=True, tag_field="event", tag="ended", omit_defaults=True):
    """How it ended. ``asked``: how often it was asked in all; more than once when a stream had broken."""

    id: str
    at_ms: int
    outcome: Outcome
    status: int | None = None
    pool: str = ""
    attempts: int = 0
    asked: int = 1
    took_ms: int = 0
    first_token_ms: int | None = None
    generation: str = ""
    why: str = ""


class Tried(Struct, frozen=True, tag_field="event", tag="tried"):
    """An attempt of the client library goes to a pool's address."""

    at_ms: int
    id: str
    pool: str


class AppliedLine(Struct, frozen=True, tag_field="event", tag="applied"):
    """A generation came into force in one client."""

    at_ms: int
    workload: str
    generation: str
    urgent: bool


class StatusLine(Struct, frozen=True, tag_field="event", tag="status", omit_defaults=True):
    """A client's own word about itself, at every change and once a second."""

    at_ms: int
    workload: str
    state: str
    generation: str = ""
    age_ms: int | None = None
    error: str = ""


CallerLine: TypeAlias = Began | Ended | Tried | AppliedLine | StatusLine
_decoder = msgspec.json.Decoder(CallerLine)
_encoder = msgspec.json.Encoder()


def encode(line: CallerLine) -> bytes:
    """One line with its end."""
    return _encoder.encode(line) + b"\n"


def parse(data: bytes) -> list[CallerLine]:
    """The whole lines in ``data``; half a last line, of a process that was killed, is left out."""
    whole, _, _ = data.rpartition(b"\n")
    return [_decoder.decode(line) for line in whole.split(b"\n") if line]


class Calls(Struct, frozen=True):
    """One run's callers' lines, by kind."""

    began: dict[str, Began]
    ended: dict[str, Ended]
    tried: tuple[Tried, ...]
    applied: tuple[AppliedLine, ...]
    statuses: tuple[StatusLine, ...]


def collect(lines: Iterable[CallerLine]) -> Calls:
    """Lines of any number of callers."""
    began: dict[str, Began] = {}
    ended: dict[str, Ended] = {}
    tried: list[Tried] = []
    applied: list[AppliedLine] = []
    statuses: list[StatusLine] = []
    for line in lines:
        match line:
            case Began():
                began[line.id] = line
            case Ended():
                ended[line.id] = line
            case Tried():
                tried.append(line)
            case AppliedLine():
                applied.append(line)
            case StatusLine():
                statuses.append(line)
    return Calls(began, ended, tuple(tried), tuple(applied), tuple(statuses))
