"""Whether this controller is fit to lead: the rules, as a pure function of what was found out.

A controller that can't do the work must not hold the lead, nor the partitions of events, while another could.
``faults_of`` names everything that is wrong, each with its remedy. Then, by ``Fitness``:

- it does not claim;
- it leads on, and keeps its partitions, only as long as no fit controller is there. A fault must have lasted
  for ``YIELD_AFTER_MS``, so that one slow answer of Redis moves nothing. The lead is yielded only to a
  controller that decides, and partitions only to one that takes events in (``process.roles``);
- it takes no partitions before it was fit once.

Of an upgrade that is under way: a controller that would lose fields of the newest publication claims, as an
exception, if no other controller that decides is there and fit. What it can't continue at all it leaves to a
newer one, however long that takes (``routes.unread``).

The policy is in force that the newest publication carries, and it changes by a command
(``commands.policies``). A controller whose file has another policy follows the one in force and says so; that
is no fault. Another lineage is one, because it is another history.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from controller.leading.presence import Fault, Presence, Roster
from controller.process.roles import Role
from controller.routes.unread import Unread

YIELD_AFTER_MS = 3_000
GRACE_MS = 60_000


class FaultKind(StrEnum):
    """What can keep a controller from leading."""

    REDIS_PASSWORD = "redis_password"
    REDIS_PERMISSION = "redis_permission"
    REDIS_READ_ONLY = "redis_read_only"
    REDIS_DATABASE = "redis_database"
    REDIS_FULL = "redis_full"
    REDIS_AWAY = "redis_away"
    CLOCK = "clock"
    LINEAGE = "lineage"
    VERSION = "version"
    NEWER_FIELDS = "newer_fields"
    DESCRIPTORS = "descriptors"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """By what two policies are told apart. ``number``: how many changes led to it."""

    lineage: str
    version: str
    number: int = 0


def clock_fault(ahead_ms: int, *, trusted: bool) -> Fault | None:
    """The fault of a clock that is not ``trusted``; ``ahead_ms`` of the brokers', negative behind them."""
    if trusted:
        return None
    seconds = abs(ahead_ms) / 1_000
    where = (
        f"is {seconds:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} the brokers'"
        if seconds >= 1
        else "has jumped"
    )
    return Fault(
        FaultKind.CLOCK, f"the clock of this machine {where}: set it, and keep it right with NTP or chrony"
    )


def lineage_fault(own: PolicyNames, in_force: PolicyNames | None) -> Fault | None:
    """The fault of another lineage than the one in force; ``in_force`` None: nothing is yet."""
    if in_force is None or own.lineage == in_force.lineage:
        return None
    return Fault(
        FaultKind.LINEAGE,
        f"LINEAGE: its policy names the lineage {own.lineage}, and {in_force.lineage} is in force: "
        "correct `lineage` in the policy, or use another namespace",
    )


def file_notice(own: PolicyNames, in_force: PolicyNames | None) -> str:
    """That the policy file of this controller is not the policy that it follows; empty if it is."""
    if in_force is None or own.lineage != in_force.lineage or own.version == in_force.version:
        return ""
    return (
        f"its policy file ({own.version[:8]}) is not policy {in_force.number} ({in_force.version[:8]}), "
        "which is in force and which it follows: `tieline policy show` prints that one for the file, "
        "`tieline policy apply FILE` puts the file in force"
    )


def history_fault(lineage: str) -> Fault:
    """The fault of a lineage whose tables in Redis come from another log of routes than there is now."""
    return Fault(
        FaultKind.LINEAGE,
        f"LINEAGE: Redis holds tables of {lineage} from before Kafka was lost or its topics were created "
        "anew: name a new `lineage` in the policy, restart the controllers, and run `tieline adopt-lineage`",
    )


def leader_log_fault(lineage: str, topic: str, routes: str) -> Fault:
    """The fault of a lineage whose epochs are offsets of another log of leadership than there is now.

    The routes that are there name epochs that the new log may reach again, so that log must begin anew too.
    """
    return Fault(
        FaultKind.LINEAGE,
        f"LINEAGE: {topic} was created anew, and Redis holds tables of {lineage} from before: stop the "
        f"controllers, delete the topic {routes}, name a new `lineage` in the policy, start the controllers, "
        "and run `tieline adopt-lineage`",
    )


def version_fault(unread: Unread, role: Role) -> Fault | None:
    """The fault of an older version behind a newer leader. One that only takes events in loses nothing."""
    if unread.refused:
        return Fault(
            FaultKind.VERSION,
            f"another version of Tieline wrote the newest publication, and this one can't go on from it "
            f"({unread.refused}): install the newer version here",
        )
    if unread.lost and role.does(Role.DECIDE):
        return Fault(
            FaultKind.NEWER_FIELDS,
            f"another version of Tieline wrote the newest publication, and this one would lose "
            f"{unread.lost_words}: install the newer version here; until then it leads only if no other can",
        )
    return None


def tables_fault(own_run: str, redis: str, leaders: Iterable[Presence]) -> Fault | None:
    """The fault of a Redis that answers and does not hold the tables which the leader uses."""
    for leader in leaders:
        if leader.tables_run not in ("", own_run) and not leader.faults:
            return Fault(
                FaultKind.REDIS_DATABASE,
                f"Redis at {redis} does not hold the tables that the leader on {leader.host} uses, at "
                f"{leader.redis}: correct the address or the number of the database in TIELINE_REDIS",
            )
    return None


class Fitness:
    """What follows from the faults, for the parts of this process. Instants are of the steady clock."""

    def __init__(self) -> None:
        self.faults: tuple[Fault, ...] = ()
        self.checked = False
        self._since_ms = 0
        self._others: tuple[Presence, ...] = ()

    def note(self, faults: tuple[Fault, ...], others: tuple[Presence, ...], steady_ms: int) -> None:
        """What the last look has found: the faults of this controller, and the others that are there."""
        if faults and not self.faults:
            self._since_ms = steady_ms
        self.faults, self._others, self.checked = faults, others, True

    @property
    def is_fit(self) -> bool:
        """Whether this controller may take partitions, and claim."""
        return self.checked and not self.faults

    @property
    def may_claim(self) -> bool:
        """Whether it is fit; or would only lose fields of a newer version, and nobody else can lead."""
        only_loses = self.checked and all(fault.kind == FaultKind.NEWER_FIELDS for fault in self.faults)
        others_lead = any(other.is_fit and other.does(Role.DECIDE) for other in self._others)
        return self.is_fit or (only_loses and not others_lead)

    def must_yield(self, work: Role, steady_ms: int) -> bool:
        """Whether it must resign (``work`` is DECIDE) or give up its partitions (INGEST): it is not fit, and
        another controller that does this work is."""
        lasting = bool(self.faults) and steady_ms - self._since_ms >= YIELD_AFTER_MS
        return lasting and any(other.is_fit and other.does(work) for other in self._others)

    @property
    def words(self) -> str:
        """What is wrong, in one text; empty when nothing is."""
        if not self.checked:
            return "it has not been checked yet whether this controller is fit to lead"
        return "; ".join(fault.words for fault in self.faults)


def others_of(roster: Roster, identity: str, now_ms: int) -> tuple[Presence, ...]:
    """The other controllers that are there."""
    return tuple(other for other in roster.present(now_ms) if other.identity != identity)
