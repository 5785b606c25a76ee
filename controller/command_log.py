"""Which operators' commands are in force, read off the command log: a pure fold.

A drain holds for exactly its scope until it expires or an undrain of the same scope follows it. An id counts
once: a repeated record changes nothing. ``next_offset`` is what a publication names to say which commands it
has taken into account.
"""

from dataclasses import dataclass, replace

from tieline.events import Command
from tieline.topics import DAY_MS

OVERRIDE_MAX_MS = 30 * DAY_MS
DRAINS_MAX = 1_000
IDS_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class CommandLog:
    """What the records before ``next_offset`` say. ``drains`` are in the order they were given."""

    next_offset: int = 0
    drains: tuple[Command, ...] = ()
    seen: tuple[str, ...] = ()  # the last ids, newest last
    refused: str = ""  # why the last record was not taken, empty if it was

    def apply(
        self, offset: int, append_ms: int, command: Command | None, *, unsigned_allowed: bool
    ) -> "CommandLog":
        """The log after one more record; ``command`` None is a record that can't be read.

        Append time judges a command, never the sender's clock: its expiry is at most 30 days after it.
        """
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refused="")
        if command is None:
            return replace(read, refused="it is not a command")
        if command.id in self.seen:
            return read
        read = replace(read, seen=(*read.seen[-IDS_KEPT_MAX + 1 :], command.id))
        if refused := _refusal(command, append_ms, unsigned_allowed=unsigned_allowed):
            return replace(read, refused=refused)
        others = tuple(drain for drain in read.drains if (drain.expires_ms or 0) > append_ms)
        if command.verb == "undrain":
            kept = tuple(drain for drain in others if drain.scope != command.scope)
            return replace(read, drains=kept)
        if len(others) >= DRAINS_MAX:
            return replace(read, drains=others, refused=f"{DRAINS_MAX} drains are in force already")
        return replace(read, drains=(*others, command))

    def in_force(self, now_ms: int) -> tuple[Command, ...]:
        """The drains that hold at ``now_ms``, sorted by scope and id."""
        held = [drain for drain in self.drains if (drain.expires_ms or 0) > now_ms]
        return tuple(sorted(held, key=lambda drain: (drain.scope, drain.id)))

    def next_expiry_ms(self, now_ms: int) -> int | None:
        """When the next drain ends by itself, or None."""
        return min((drain.expires_ms or 0 for drain in self.in_force(now_ms)), default=None)


def _refusal(command: Command, append_ms: int, *, unsigned_allowed: bool) -> str:
    if command.signature:
        return "its signature can't be checked: no keys are configured"
    if not unsigned_allowed:
        return "it is unsigned, which only the unsigned development mode accepts"
    if command.verb == "undrain":
        return ""
    if command.expires_ms is None or command.expires_ms <= append_ms:
        return "it had expired before it arrived"
    if command.expires_ms > append_ms + OVERRIDE_MAX_MS:
        return "it expires more than 30 days ahead"
    return ""
