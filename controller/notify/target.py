"""One target of notifications as the file has it, and which entries it wants. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from controller.history.entries import SEVERITIES, Entry, Severity, is_of_kind
from controller.process.secret_places import Secret

WANTED = (
    "forced_move",
    "shedding",
    "freeze",
    "override",
    "refusal",
    "pending",
    "alarm",
    "guard",
    "expiring",
    "gap",
)


class Target(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One target as the file has it.

    ``events``: kinds or groups of kinds; ``severity``: the least one that it wants. ``scopes`` and
    ``workloads``: only what concerns these; empty for everything. ``body``: of a webhook, any structure whose
    strings are templates (``template``). ``authorization``: the value of that header. ``per_minute``: how
    many notifications it takes in a minute. ``repeat_after_s``: how long a condition that comes and goes is
    not told again. ``waiting_max``: how many may wait.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
    kind: Literal["webhook", "slack", "pagerduty", "alertmanager"]
    url: Secret = ""
    routing_key: Secret = ""
    authorization: Secret = ""
    headers: dict[str, Secret] = {}
    proxy: str = ""
    events: tuple[str, ...] = WANTED
    severity: Severity = "info"
    scopes: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    body: Any = None
    per_minute: Annotated[int, Meta(ge=1, le=1_000)] = 30
    repeat_after_s: Annotated[int, Meta(ge=0, le=86_400)] = 300
    waiting_max: Annotated[int, Meta(ge=10, le=100_000)] = 1_000
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 10.0

    def wants(self, entry: Entry) -> bool:
        """Whether the entry is of a kind and severity that this target wants to know."""
        # A severity of a later version counts as the highest, as it can't be ranked.
        severity = SEVERITIES.index(entry.severity) if entry.severity in SEVERITIES else len(SEVERITIES)
        return severity >= SEVERITIES.index(self.severity) and is_of_kind(entry, self.events)
