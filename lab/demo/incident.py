"""PURE: a real incident as a file: what failed and when, and what status pages claimed meanwhile.

The file is ``examples/incidents/ID/incident.yaml``. The ``policy.yaml`` beside it is the policy of the
replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from controller.core.policy.policy import Policy
from controller.process.errors import UserError
from lab.standins.faults import FaultKind
from tieline.event_fields import Scope
from tieline.events import Claim, ClaimState, in_scope

FILE_MAX_BYTES = 256 * 1024
MINUTES_PER_DAY = 1_440
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]( \+1d)?\Z"


class IncidentError(UserError):
    """The incident can't be replayed; the message names the file, the place and what is wrong there."""


class ScopedFault(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault for a share of the requests at every pool in ``on``: providers, provider/regions or pools.

    The other fields are those of ``lab.standins.faults.FaultOrder``.
    """

    on: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=100)]
    kind: FaultKind
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    model: str | None = None
    delay_ms: int | None = None
    retry_after_ms: int | None = None


class StatusClaim(Struct, frozen=True, forbid_unknown_fields=True):
    """What a status page claims of a region (``*``: of all regions of the provider) until its next claim."""

    source: str
    provider: str
    region: str = "*"
    state: ClaimState = "degraded"
    text: str = ""


class Happening(Struct, frozen=True, forbid_unknown_fields=True):
    """One moment.

    ``at``: HH:MM UTC, with `` +1d`` for the day after. ``clear``: scopes whose faults end before the new ones
    begin. ``capacity``: scope -> factor on the capacity of its pools.
    """

    at: Annotated[str, Meta(pattern=_TIME)]
    what: Annotated[str, Meta(min_length=1, max_length=300)]
    clear: tuple[Scope, ...] = ()
    faults: tuple[ScopedFault, ...] = ()
    claims: tuple[StatusClaim, ...] = ()
    capacity: dict[Scope, float] = {}

    @property
    def minute(self) -> int:
        """Minutes since the midnight before the incident."""
        clock, _, later = self.at.partition(" ")
        hours, minutes = clock.split(":")
        return int(hours) * 60 + int(minutes) + (MINUTES_PER_DAY if later else 0)


class Incident(Struct, frozen=True, forbid_unknown_fields=True):
    """What happened, in the order of time. ``hard``: what makes this incident hard to handle."""

    id: str
    title: str
    date: str
    hard: str
    source: str
    happenings: Annotated[tuple[Happening, ...], Meta(min_length=1, max_length=100)]


def parse(text: str, place: str, policy: Policy) -> Incident:
    """Reads an incident, and checks it against the policy of its replay. Raises IncidentError."""
    try:
        raw: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise IncidentError(f"{place}{line}: not YAML: {getattr(error, 'problem', error)}") from None
    try:
        incident = msgspec.convert(raw, Incident)
    except msgspec.ValidationError as error:
        raise IncidentError(f"{place}: {error}") from None
    minutes = [happening.minute for happening in incident.happenings]
    if minutes != sorted(minutes):
        raise IncidentError(f"{place}: the happenings are not in the order of their times: sort them")
    for happening in incident.happenings:
        for scope in _scopes(happening):
            if not pools_in(policy, scope):
                raise IncidentError(f"{place}: {happening.at}: no pool of the policy is in {scope}")
        for source in {claim.source for claim in happening.claims} - {source.id for source in policy.sources}:
            raise IncidentError(f"{place}: {happening.at}: source {source} is not in the policy")
    return incident


def read(directory: Path, policy: Policy) -> Incident:
    """Reads ``incident.yaml`` in a directory. Raises IncidentError."""
    path = directory / "incident.yaml"
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise IncidentError(f"{path} has more than {FILE_MAX_BYTES} bytes: this is no incident")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IncidentError(f"{path} can't be read: {error}") from None
    return parse(text, str(path), policy)


def incident_ids(directory: Path) -> list[str]:
    """The incidents in a directory, sorted."""
    return sorted(path.parent.name for path in directory.glob("*/incident.yaml"))


def pools_in(policy: Policy, scope: str) -> tuple[str, ...]:
    """The ids of the pools in a scope."""
    return tuple(pool.id for pool in policy.pools if in_scope(pool.id, scope))


def claims_in_force(status: StatusClaim, now_ms: int, expires_after_ms: int) -> tuple[Claim, ...]:
    """A status page's claim as an event has it.

    None means that all is well, which retracts earlier claims.
    """
    if status.state == "operational":
        return ()
    return (Claim(status.state, now_ms + expires_after_ms, text=status.text),)


def _scopes(happening: Happening) -> Iterable[str]:
    yield from happening.clear
    yield from happening.capacity
    for fault in happening.faults:
        yield from fault.on
