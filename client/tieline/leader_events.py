"""The events of the topic ``tieline.leader``, which only controllers write: who leads, and since which claim.

The epoch of a leadership is the offset of the claim with which it began. The rule by which a claim is valid
is in ``controller.leading.claim_rule``.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tieline.event_fields import Name, Sequence


class Claimed(Struct, frozen=True, tag_field="type", tag="leader.claim.v1"):
    """A standby's claim to lead. ``names_epoch``: the epoch that it saw in force; ``last_heartbeat_offset``:
    the offset of the last heartbeat of that epoch that it saw. If the claim is valid its own offset becomes
    the new epoch."""

    identity: Name
    names_epoch: Annotated[int, Meta(ge=-1, le=2**53)]
    last_heartbeat_offset: Annotated[int, Meta(ge=-1, le=2**53)]


class Heartbeat(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="leader.heartbeat.v1"):
    """The leader of ``epoch`` is alive. ``number`` rises with each heartbeat of one process, so that a copy
    of an old one says nothing; 0 comes from a version that does not count them."""

    identity: Name
    epoch: Sequence
    number: Sequence = 0


class Resigned(Struct, frozen=True, tag_field="type", tag="leader.resigned.v1"):
    """The leader of ``epoch`` has stopped, so the next claim need not wait."""

    identity: Name
    epoch: Sequence
