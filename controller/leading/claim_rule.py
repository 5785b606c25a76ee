"""Who leads, read off the leader log: a pure fold. The claim rule that it applies is stated in ``leading``.

Every reader repeats it to the same answer, because it depends on nothing but the records, their offsets and
their append times.
"""

from dataclasses import dataclass, replace

from controller.routes.counting_rule import NO_EPOCH
from tieline.events import Claimed, Event, Heartbeat, Resigned
from tieline.topics import DAY_MS

NO_OFFSET = -1
SILENCE_MS = 2_500
CLAIM_DELAY_MAX_MS = 500
LEASE_MS = 2_000
HEARTBEAT_EVERY_MS = 500
RETENTION_MS = DAY_MS


@dataclass(frozen=True, slots=True)
class LeaderLog:
    """Who leads, by the records before ``next_offset``.

    ``first_offset`` is where the log began when reading started; above 0, retention has removed its past.
    ``provisional``: the epoch rests on a claim whose past was removed, and the next heartbeat decides.
    ``heartbeat_offset`` and ``heartbeat_append_ms`` are of the last heartbeat of ``epoch``, the claim
    included.
    """

    first_offset: int = 0
    next_offset: int = 0
    epoch: int = NO_EPOCH
    heartbeat_offset: int = NO_OFFSET
    heartbeat_append_ms: int = 0
    resigned: bool = False
    provisional: bool = False

    @classmethod
    def starting_at(cls, first_offset: int) -> "LeaderLog":
        """An unread log whose oldest record is at ``first_offset``."""
        return cls(first_offset=first_offset, next_offset=first_offset)

    def apply(self, offset: int, append_ms: int, event: Event | None) -> "LeaderLog":
        """The log after one more record. ``event`` is None for a record that is no event of this log."""
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1)
        match event:
            case Claimed() if read.accepts(event, append_ms):
                provisional = self.epoch == NO_EPOCH and self.first_offset > 0
                return read._in_force(offset, offset, append_ms, provisional=provisional)
            case Heartbeat() if event.epoch < offset and read._speaks_for(event.epoch):
                return read._beat(event.epoch, offset, append_ms)
            case Resigned() if event.epoch == self.epoch:
                return replace(read, resigned=True)
            case _:
                return read

    def accepts(self, claim: Claimed, append_ms: int) -> bool:
        """Whether ``claim``, appended right here at ``append_ms``, is valid (the claim rule)."""
        silent_ms = append_ms - self.heartbeat_append_ms
        if self.epoch == NO_EPOCH:
            return self.first_offset > 0 or claim.names_epoch == NO_EPOCH
        if claim.names_epoch == NO_EPOCH:  # its sender read a log that retention had emptied
            return silent_ms >= RETENTION_MS
        return (
            claim.names_epoch == self.epoch
            and claim.last_heartbeat_offset == self.heartbeat_offset
            and (self.resigned or silent_ms >= SILENCE_MS)
        )

    def _speaks_for(self, epoch: int) -> bool:
        """Whether a heartbeat of ``epoch`` changes who leads.

        In a whole log only the epoch in force is heard. In a log that lost its past a heartbeat stands for
        the claim that was removed, because its sender had read that claim as valid.
        """
        if epoch == self.epoch:
            return True
        return self.first_offset > 0 and (self.provisional or epoch > self.epoch)

    def _beat(self, epoch: int, offset: int, append_ms: int) -> "LeaderLog":
        if epoch == self.epoch:
            return replace(self, heartbeat_offset=offset, heartbeat_append_ms=append_ms, provisional=False)
        return self._in_force(epoch, offset, append_ms, provisional=False)

    def _in_force(self, epoch: int, offset: int, append_ms: int, *, provisional: bool) -> "LeaderLog":
        return replace(
            self,
            epoch=epoch,
            heartbeat_offset=offset,
            heartbeat_append_ms=append_ms,
            resigned=False,
            provisional=provisional,
        )
