"""The guards by name: which of them an operator may override, for which scopes, and which never.

The name is that of the guard's function, if it is one of guards/last_look.py.
"""

from typing import Literal, NamedTuple

from controller.core.policy.check import near_miss


class Overridable(NamedTuple):
    """A guard that can be overridden: what it ``ensures``, and the smallest scope for which it can be."""

    ensures: str
    smallest: Literal["pool", "provider", "table"]


OVERRIDABLE: dict[str, Overridable] = {
    "fresh_capacity": Overridable("nothing is moved onto a pool without fresh capacity", "pool"),
    "provider_share": Overridable("no provider gets more of a workload than the policy allows", "provider"),
    "providers_lost": Overridable(
        "once too many providers are lost, pools that still succeed stay in", "table"
    ),
    "sources_unheard": Overridable("no moves by choice while too many sources are silent", "table"),
}
NEVER: dict[str, str] = {
    "lawful": "residency, exclusivity, pins and models are law and contract: only the policy can change them",
    "whole_table": "an empty table, or one whose shares are not whole, never leaves",
    "frozen": "a freeze is ended by `tieline unfreeze`",
}


def override_fault(guard: str, scope: str) -> str | None:
    """Why this guard can't be overridden for this scope, in one sentence; None if it can."""
    if guard in NEVER:
        return f"the guard {guard} can't be overridden: {NEVER[guard]}"
    if guard not in OVERRIDABLE:
        return f"there is no guard {guard!r}{near_miss(guard, OVERRIDABLE)}"
    smallest = OVERRIDABLE[guard].smallest
    if smallest == "table" and scope != "*":
        return f"the guard {guard} holds for the whole table: it can't be overridden for {scope} alone"
    if smallest == "provider" and "/" in scope:
        return f"the guard {guard} holds for whole providers: give {scope.split('/')[0]}, or the whole table"
    return None
