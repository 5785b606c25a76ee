"""Who leads, read off the leader log: a pure fold. The claim rule that it applies is stated in ``leading``.

Every reader repeats it to the same answer, because it depends on nothing but the records, their offsets and
their append times. A record that breaks the rule, by mistake or on purpose, changes nothing: ``refusal`` then
says what is wrong with it.
"""

from dataclasses import dataclass, replace

from controller.routes.counting_rule import NO_EPOCH
from tieline.events import Event
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.topics import DAY_MS

NO_OFFSET = -1
SILENCE_MS = 2_500
CLAIM_DELAY_MAX_MS = 500
LEASE_MS = 2_000
HEARTBEAT_EVERY_MS = 500
RETENTION_MS = DAY_MS
EPOCHS_REMEMBERED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class LeaderLog:
    """Who leads, by the records before ``next_offset``.

    ``first_offset`` is where the log began when reading started; above 0, retention has removed its past.
    ``leader``: the identity that leads ``epoch``, from its claim or its first heartbeat.
    ``heartbeat_offset`` and ``heartbeat_append_ms`` are of the last heartbeat of ``epoch``, the claim
    included; ``heartbeat_number`` is its own. ``epochs``: the epochs that began in the records read, each
    with its leader's identity, oldest first. ``inherited``: no epoch above it lies in the removed past.
    ``refusal``: what is wrong with the last record; empty if nothing is.

    Three fields matter only for a log that has lost its past. ``proven``: the epoch in force is certain,
    because it was heard twice in a row. ``provisional``: it rests on a claim whose past was removed.
    ``rival``: a lower epoch that was heard since, with its identity.
    """

    first_offset: int = 0
    next_offset: int = 0
    epoch: int = NO_EPOCH
    leader: str = ""
    heartbeat_offset: int = NO_OFFSET
    heartbeat_append_ms: int = 0
    heartbeat_number: int = 0
    resigned: bool = False
    epochs: tuple[tuple[int, str], ...] = ()
    inherited: int = NO_EPOCH
    refusal: str = ""
    proven: bool = True
    provisional: bool = False
    rival: tuple[int, str] | None = None

    @classmethod
    def starting_at(cls, first_offset: int) -> "LeaderLog":
        """An unread log whose oldest record is at ``first_offset``."""
        return cls(
            first_offset=first_offset,
            next_offset=first_offset,
            inherited=first_offset - 1,
            proven=first_offset == 0,
        )

    def apply(self, offset: int, append_ms: int, event: Event | None) -> "LeaderLog":
        """The log after one more record. ``event`` is None for a record that is no event of this log."""
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refusal="")
        match event:
            case Claimed():
                return read._after_claim(event, offset, append_ms)
            case Heartbeat():
                return read._after_heartbeat(event, offset, append_ms)
            case Resigned():
                return read._after_resignation(event)
            case _:
                return read

    def ignore(self, offset: int) -> "LeaderLog":
        """The log after a record that must not be believed.

        As long as nothing was believed, such records are like a past that retention removed: so controllers
        that begin to check signatures continue the epochs of those that only signed.
        """
        if offset < self.next_offset:
            return self
        if self.epoch == NO_EPOCH and not self.epochs:
            return LeaderLog.starting_at(offset + 1)
        return replace(self, next_offset=offset + 1, refusal="")

    def accepts(self, claim: Claimed, append_ms: int) -> bool:
        """Whether ``claim``, appended right here at ``append_ms``, is valid (the claim rule)."""
        silent_ms = append_ms - self.heartbeat_append_ms
        if self.epoch == NO_EPOCH:  # nothing that was read is in force, so it can only name the removed past
            return max(claim.names_epoch, claim.last_heartbeat_offset) < self.first_offset
        if claim.names_epoch == NO_EPOCH:  # its sender read a log that retention had emptied
            return silent_ms >= RETENTION_MS
        return (
            claim.names_epoch == self.epoch
            and claim.last_heartbeat_offset == self.heartbeat_offset
            and (self.resigned or silent_ms >= SILENCE_MS)
        )

    def is_epoch(self, epoch: int, leader: str) -> bool:
        """Whether ``epoch`` is the offset of a valid claim, and ``leader`` the identity that made it.

        A claim that retention removed can't be looked up: an epoch up to ``inherited`` is believed.
        """
        return (epoch, leader) in self.epochs or epoch <= self.inherited

    def _after_claim(self, claim: Claimed, offset: int, append_ms: int) -> "LeaderLog":
        if max(claim.names_epoch, claim.last_heartbeat_offset) >= offset:
            return replace(self, refusal=f"a claim of {claim.identity[:8]} names a record that is not there")
        if not self.accepts(claim, append_ms):
            return self  # another claim came first, or a heartbeat: both are usual
        past_is_lost = self.epoch == NO_EPOCH and self.first_offset > 0
        read = replace(self, provisional=past_is_lost)
        if past_is_lost and claim.names_epoch != NO_EPOCH:
            read = replace(read, inherited=claim.names_epoch)
        return read._in_force(offset, claim.identity, offset, append_ms=append_ms)

    def _after_heartbeat(self, beat: Heartbeat, offset: int, append_ms: int) -> "LeaderLog":
        if beat.epoch >= offset:
            return replace(self, refusal=f"a heartbeat of {beat.identity[:8]} names an epoch of the future")
        if beat.epoch == self.epoch:
            if beat.identity != self.leader:
                return replace(self, refusal=f"{beat.identity[:8]} sent a heartbeat for another controller")
            if 0 < beat.number <= self.heartbeat_number:
                return self._after_copy(beat)
            return replace(
                self,
                heartbeat_offset=offset,
                heartbeat_append_ms=append_ms,
                heartbeat_number=beat.number,
                proven=True,
                provisional=False,
                rival=None,
            )
        return self._after_other_heartbeat(beat, offset, append_ms)

    def _after_copy(self, beat: Heartbeat) -> "LeaderLog":
        """A heartbeat that was read before, or one that was late: neither says that its leader lives."""
        if beat.number < self.heartbeat_number:
            return self
        return replace(self, refusal=f"a copy of heartbeat {beat.number} of {beat.identity[:8]}")

    def _after_other_heartbeat(self, beat: Heartbeat, offset: int, append_ms: int) -> "LeaderLog":
        """A heartbeat of another epoch than the one in force.

        It is a late one of a deposed leader. Only in a log that lost its past, and only until the epoch in
        force is proven, may it stand for a claim that was removed: its sender had read that claim as valid.
        """
        speaker = (beat.epoch, beat.identity)
        if self.proven:
            late = self.is_epoch(*speaker)
            return (
                self
                if late
                else replace(self, refusal=f"a heartbeat names epoch {beat.epoch}, which is none")
            )
        if not (beat.epoch > self.epoch or self.provisional or self.rival == speaker):
            return replace(self, rival=speaker)
        removed = beat.epoch < self.first_offset
        read = replace(
            self,
            proven=self.rival == speaker,
            provisional=False,
            epochs=(),
            inherited=beat.epoch if removed else self.inherited,
        )
        begun = read._in_force(beat.epoch, beat.identity, offset, append_ms=append_ms)
        return replace(begun, heartbeat_number=beat.number)

    def _after_resignation(self, resignation: Resigned) -> "LeaderLog":
        if resignation.epoch != self.epoch:
            return self
        if resignation.identity != self.leader:
            return replace(self, refusal=f"{resignation.identity[:8]} resigned for another controller")
        return replace(self, resigned=True)

    def _in_force(self, epoch: int, leader: str, offset: int, *, append_ms: int) -> "LeaderLog":
        begun = self.epochs[1 - EPOCHS_REMEMBERED_MAX :]
        return replace(
            self,
            epoch=epoch,
            leader=leader,
            heartbeat_offset=offset,
            heartbeat_append_ms=append_ms,
            heartbeat_number=0,
            resigned=False,
            epochs=(*begun, (epoch, leader)) if epoch >= self.first_offset else begun,
            rival=None,
        )
