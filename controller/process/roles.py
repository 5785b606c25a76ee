"""What a controller does: take events in, decide while it leads, or both.

Both is the usual role. Where events come faster than one process takes in beside deciding, some controllers
only take events in (``ingest``) and others only decide (``decide``). Every controller that takes events in
has its part of the partitions, by one consumer group for all, so more of them take in more; the rows lie in
Redis, from where every controller that decides reads them. So each installation needs at least one process of
either kind. Those that decide are woken by the hint that follows each row that matters.

A controller that is not fit yields only to another that does the same work (``leading.fitness``).
Tests: tests/unit/controller/process/test_roles.py and, with real processes, tests/integration/test_roles.py.
"""

from enum import StrEnum

from controller.process.errors import SettingError


class Role(StrEnum):
    """What one controller process does."""

    BOTH = "both"
    INGEST = "ingest"
    DECIDE = "decide"

    def does(self, work: "Role") -> bool:
        """Whether a process of this role does ``work``, which is INGEST or DECIDE."""
        return self in (Role.BOTH, work)


def read_role(text: str) -> Role:
    """The role in a setting; both for an empty text. Raises SettingError."""
    try:
        return Role(text.strip() or Role.BOTH)
    except ValueError:
        raise SettingError(f"TIELINE_ROLE: {text!r} is no role: give both, ingest or decide") from None
