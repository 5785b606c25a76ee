"""PURE: what the recorder keeps, as values that the checker reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from controller.routes.record import RoutesRecord
from lab.demo.records import CallerNote, ClientStatus, RequestEnd, RequestStart, TableApplied
from tieline.table import Generation


class Publication(NamedTuple):
    """One record of the routes log. ``history``: how often the log had begun anew before it. ``seen_ms``:
    when the recorder read it; ``append_ms``: the broker's time.

    ``counts``: no record of a higher epoch lies before it. ``record``: None if it can't be read.
    """

    history: int
    offset: int
    epoch: int
    seen_ms: int
    append_ms: int
    counts: bool
    record: RoutesRecord | None

    @property
    def generation(self) -> Generation | None:
        """The generation of its table; None for a fence."""
        return self.record.generation if self.record is not None and self.record.table is not None else None


class RedisView(NamedTuple):
    """What Redis held since ``seen_ms``. ``trouble``: ``away`` or ``empty``, or nothing."""

    seen_ms: int
    trouble: str
    generation: Generation | None = None
    slices: Mapping[str, str] = {}


class ClientLife:
    """One life of a calling process: what its clients noted, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[CallerNote] = []
        self.killed = False  # on purpose: what it had under way is nobody's loss
        self.newest_status: dict[str, ClientStatus] = {}

    def add(self, notes: Iterable[CallerNote]) -> None:
        """Takes in what is new."""
        for note in notes:
            self.notes.append(note)
            if isinstance(note, ClientStatus):
                self.newest_status[note.workload] = note

    def applied(self) -> dict[str, list[TableApplied]]:
        """By workload: the tables that its client put in force, in order."""
        tables: dict[str, list[TableApplied]] = {}
        for note in self.notes:
            if isinstance(note, TableApplied):
                tables.setdefault(note.workload, []).append(note)
        return tables

    def answered_since(self, at_ms: int) -> int:
        """Requests that ended well since then."""
        ends = (note for note in self.notes if isinstance(note, RequestEnd))
        return sum(end.outcome == "ok" and end.at_ms >= at_ms for end in ends)

    def unended(self) -> set[str]:
        """The requests that are under way."""
        ends = {note.id for note in self.notes if isinstance(note, RequestEnd)}
        return {start.id for start in self.starts() if start.id not in ends}

    def starts(self) -> Sequence[RequestStart]:
        """The requests that it sent."""
        return [note for note in self.notes if isinstance(note, RequestStart)]


def generation_of(text: str) -> Generation:
    """``lineage:epoch:seq`` as a value."""
    lineage, epoch, seq = text.rsplit(":", 2)
    return Generation(lineage, int(epoch), int(seq))
