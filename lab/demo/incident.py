"""PURE: a real incident as a file: what failed when, in provider terms, and what was said about it.

``examples/incidents/ID/incident.yaml`` beside the ``policy.yaml`` that it is replayed under.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from controller.core.policy.policy import Policy
from lab.standins.faults import FaultKind
from tieline.events import Claim, ClaimState, Scope, in_scope

FILE_MAX_BYTES = 256 * 1024
MINUTES_PER_DAY = 1_440
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]( \+1d)?\Z"


class IncidentError(ValueError):
    """The incident can't be replayed: one sentence with file and place."""


class FaultOn(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault at every pool in ``on`` (provider, provider/region or a pool), for a share of the requests."""

    on: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=100)]
    kind: FaultKind
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    model: str | None = None
    delay_ms: int | None = None
    retry_after_ms: int | None = None


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    """What a status page says of a region (``*``: all of the provider's) until it says otherwise."""

    source: str
    provider: str
    region: str = "*"
    state: ClaimState = "degraded"
    text: str = ""


class Happening(Struct, frozen=True, forbid_unknown_fields=True):
    """One moment. ``at``: HH:MM UTC, `` +1d`` for the day after. ``clear``: scopes whose faults end before
    the new ones begin; ``capacity``: scope -> factor of what its pools can give."""

    at: Annotated[str, Meta(pattern=_TIME)]
    what: Annotated[str, Meta(min_length=1, max_length=300)]
    clear: tuple[Scope, ...] = ()
    faults: tuple[FaultOn, ...] = ()
    said: tuple[Said, ...] = ()
    capacity: dict[Scope, float] = {}

    @property
    def minute(self) -> int:
        """Minutes since the midnight before the incident."""
        clock, _, later = self.at.partition(" ")
        hours, minutes = clock.split(":")
        return int(hours) * 60 + int(minutes) + (MINUTES_PER_DAY if later else 0)


class Incident(Struct, frozen=True, forbid_unknown_fields=True):
    """What happened, in order. ``hard``: what makes it hard to get right."""

    id: str
    title: str
    date: str
    hard: str
    source: str
    happenings: Annotated[tuple[Happening, ...], Meta(min_length=1, max_length=100)]


def parse(text: str, place: str, policy: Policy) -> Incident:
    """An incident whose scopes all exist in the policy, in the order of time. Raises IncidentError."""
    try:
        raw: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise IncidentError(f"{place}{line}: not YAML: {getattr(error, 'problem', error)}.") from None
    try:
        incident = msgspec.convert(raw, Incident)
    except msgspec.ValidationError as error:
        raise IncidentError(f"{place}: {error}.") from None
    minutes = [one.minute for one in incident.happenings]
    if minutes != sorted(minutes):
        raise IncidentError(f"{place}: the happenings are not in the order of their times.")
    for happening in incident.happenings:
        for scope in _scopes(happening):
            if not covered(policy, scope):
                raise IncidentError(f"{place}: {happening.at}: no pool of the policy lies in {scope}.")
        for said in happening.said:
            if said.source not in {one.id for one in policy.sources}:
                raise IncidentError(f"{place}: {happening.at}: source {said.source} is not in the policy.")
    return incident


def read(directory: Path, policy: Policy) -> Incident:
    """``incident.yaml`` in a directory. Raises IncidentError."""
    path = directory / "incident.yaml"
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise IncidentError(f"{path} is larger than {FILE_MAX_BYTES} bytes.")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IncidentError(f"{path} can't be read: {error}.") from None
    return parse(text, str(path), policy)


def known(directory: Path) -> list[str]:
    """The incidents that are there, sorted."""
    return sorted(path.parent.name for path in directory.glob("*/incident.yaml"))


def covered(policy: Policy, scope: str) -> tuple[str, ...]:
    """Pools in a scope."""
    return tuple(pool.id for pool in policy.pools if in_scope(pool.id, scope))


def claim(said: Said, now_ms: int, expires_after_ms: int) -> tuple[Claim, ...]:
    """A status page's words as claims; that all is well again retracts them."""
    if said.state == "operational":
        return ()
    return (Claim(said.state, now_ms + expires_after_ms, text=said.text),)


def _scopes(happening: Happening) -> Iterable[str]:
    yield from happening.clear
    yield from happening.capacity
    for fault in happening.faults:
        yield from fault.on
