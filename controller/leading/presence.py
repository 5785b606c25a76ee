"""What each controller says about itself once a second, on the topic of controllers; and so, who is there.

A controller that can't reach Redis can still say so here, because without Kafka it could not lead anyway. Two
readers need it: a controller that is not fit leads on unless a fit one is there (``fitness``), and `tieline
status` shows every controller with what is wrong with it.
"""

import os
import platform

import msgspec
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from controller.commands.policies import PolicyInForce
from controller.process.roles import Role
from controller.routes.counting_rule import NO_EPOCH
from controller.routes.record import headers
from tieline.errors import UNDECODABLE
from tieline.topics import HOUR_MS

PRESENCE_TYPE = "tieline.controller.v1"
PRESENCE_SCHEMA = 1
PRESENT_MS = 5_000  # who said nothing for longer is not there
ROSTER_MAX = 1_000
RECORDS_READ_MAX = 500  # more than all controllers say within the minute that matters

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Fault(Struct, frozen=True):
    """One thing that keeps a controller from leading: ``kind`` for programs, ``words`` with the remedy."""

    kind: str
    words: str


class Presence(Struct, frozen=True, omit_defaults=True):
    """What a controller says about itself.

    ``epoch``: the one that it leads, or -1. ``lineage``: of its own policy file. ``policy_version`` and
    ``policy_number``: of the policy that it follows, which is its file's until something is published.
    ``clock_ahead_ms``: how far its clock is ahead of the brokers'. ``tables_run``: the run of the tables that
    its Redis holds, empty while it can't be read. ``partitions``: how many it takes events in from.
    ``faults``: why it is not fit to lead; empty when it is. ``alarms``: what else a person should know.
    ``notices``: what is worth knowing although nothing is wrong. ``checked``: it has looked at everything
    once. ``leaving``: it is about to end. ``role``: what it does (``process.roles``).
    """

    identity: str
    host: str
    pid: int
    version: str
    started_ms: int
    lineage: str
    policy_version: str
    epoch: int = NO_EPOCH
    clock_ahead_ms: int = 0
    redis: str = ""
    tables_run: str = ""
    partitions: int = 0
    faults: tuple[Fault, ...] = ()
    alarms: tuple[str, ...] = ()
    checked: bool = False
    leaving: bool = False
    schema: int = PRESENCE_SCHEMA
    policy_number: int = 0
    notices: tuple[str, ...] = ()
    role: str = Role.BOTH.value

    @property
    def is_fit(self) -> bool:
        """Whether it may lead, or take partitions, by its role."""
        return self.checked and not self.faults and not self.leaving

    def does(self, work: Role) -> bool:
        """Whether this is part of its work. What another version calls its role is taken for no work."""
        return self.role in (Role.BOTH, work)


_decoder = msgspec.msgpack.Decoder(Presence)


def first_presence(
    identity: str, started_ms: int, policy: PolicyInForce, *, redis: str, role: Role = Role.BOTH
) -> Presence:
    """What this process says before it has looked at anything. ``redis``: its address without a password."""
    from importlib.metadata import version  # readers of presences, which are short commands, need none of it

    return Presence(
        identity=identity,
        host=platform.node(),
        pid=os.getpid(),
        version=version("tieline-controller"),
        started_ms=started_ms,
        lineage=policy.policy.lineage,
        policy_version=policy.version,
        redis=redis,
        role=role.value,
    )


def encode_presence(presence: Presence) -> tuple[bytes, list[tuple[str, bytes]]]:
    """(value, headers) of its record."""
    return _encoder.encode(presence), headers(PRESENCE_TYPE, presence.identity, presence.identity)


class Seen(Struct, frozen=True):
    """The last that a controller said, and when: ``append_ms`` by the brokers' clock."""

    presence: Presence
    append_ms: int


class Roster:
    """Every controller that said something within the last hour, by identity.

    ``now_ms`` of its methods is the brokers' time.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Seen] = {}

    def take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> bool:
        """One more record of the topic. Returns whether a controller leaves. What can't be read is passed
        over."""
        try:
            presence = _decoder.decode(record.value or b"")
        except UNDECODABLE:
            return False
        self._rows.pop(presence.identity, None)
        self._rows[presence.identity] = Seen(presence, record.timestamp)
        while len(self._rows) > ROSTER_MAX:
            self._rows.pop(next(iter(self._rows)))
        return presence.leaving

    def rows(self, now_ms: int) -> tuple[Seen, ...]:
        """All of the last hour, the longest running first."""
        rows = (row for row in self._rows.values() if now_ms - row.append_ms < HOUR_MS)
        return tuple(sorted(rows, key=lambda row: (row.presence.started_ms, row.presence.identity)))

    def present(self, now_ms: int) -> tuple[Presence, ...]:
        """Those that are there now."""
        return tuple(row.presence for row in self.rows(now_ms) if is_present(row, now_ms))


def is_present(row: Seen, now_ms: int) -> bool:
    """Whether the controller said something lately, and not that it is leaving."""
    return now_ms - row.append_ms < PRESENT_MS and not row.presence.leaving
