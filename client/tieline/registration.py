"""PURE. Whether the policy lets a source say what an event says. One rule for both ends of the wire.

Ingestion refuses with it what it may not take (``streams.contract_check``). Producers ask it before they
send, with the policy that the controllers publish, so that an event that nobody will take is the error of its
sender, and no dead letter that the sender never sees.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

import msgspec
from msgspec import Struct

from tieline.cloudevents import Poison, Rejection, type_of
from tieline.errors import UNDECODABLE
from tieline.events import Capacity, Event, Report, Statement, in_scope
from tieline.signatures import SignedRecord, event_flaw

RegisteredEvent: TypeAlias = Report | Statement | Capacity
SENDERS: dict[type[RegisteredEvent], tuple[str, ...]] = {
    Report: ("probe", "client"),
    Statement: ("status", "fleet", "quota"),
    Capacity: ("fleet", "quota"),
}
"""Which kinds of sources may send an event."""

_SIMILARITY_MIN = 0.6
_REMEDIES = {
    Rejection.UNKNOWN_PROVIDER: "correct the event's provider, or add the provider to the policy",
    Rejection.UNKNOWN_SOURCE: "correct the event's source, or add the source to the policy",
    Rejection.UNKNOWN_POOL: "correct the pool's name, or add the pool to the policy",
    Rejection.NOT_ITS_KIND: "send it as a source of another kind, or change the source's kind in the policy",
    Rejection.OUT_OF_SCOPE: "leave it out, or widen the source's scope in the policy",
    Rejection.BAD_SIGNATURE: "give the producer the source's key, or correct its public_keys in the policy",
}


@dataclass(frozen=True, slots=True)
class SourceRule:
    """What the policy says of a source. ``kind``: empty for any; ``scope``: provider[/region[/deployment]] or
    ``*``. ``interval_max_ms``: a longer interval of a report counts as this one; None for any.
    ``public_keys``: one of these must have signed its events; without any they need no signature."""

    kind: str = ""
    scope: str = "*"
    interval_max_ms: int | None = None
    public_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """What the policy names: ids of providers, sources by name, ids of pools (provider/region/deployment).

    ``sources`` are those of reports, statements and capacity; clients that report demand need no entry.
    ``groups``: the pools of each quota group, by its name. ``flows``: the (workload, origin) of its routes,
    None for any. ``limit_units_per_s``: what all its pools can give together.
    """

    providers: frozenset[str]
    sources: Mapping[str, SourceRule]
    pools: frozenset[str]
    flows: frozenset[tuple[str, str]] | None = None
    limit_units_per_s: float = float("inf")
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def names(self, workload: str, origin: str) -> bool:
        """Whether the policy has a route for this (workload, origin)."""
        return self.flows is None or (workload, origin) in self.flows


class _Entry(Struct, frozen=True):
    id: str


class _SourceEntry(Struct, frozen=True):
    id: str
    kind: str
    scope: str = "*"
    interval_max_ms: int | None = None
    public_keys: tuple[str, ...] = ()


class _PoolEntry(Struct, frozen=True):
    id: str
    quota_group: str | tuple[str, ...] = ""


class _Entries(Struct, frozen=True):
    """The part of a published policy that says who may speak of what."""

    providers: tuple[_Entry, ...]
    pools: tuple[_PoolEntry, ...]
    sources: tuple[_SourceEntry, ...] = ()
    quota_groups: tuple[_Entry, ...] = ()


_entries = msgspec.msgpack.Decoder(_Entries)


def registry_in(policy: bytes) -> Registry:
    """The registry in a policy as the routes log has it, without ``flows`` and ``limit_units_per_s``.

    Raises MsgspecError for other bytes.
    """
    try:
        entries = _entries.decode(policy)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None
    members: dict[str, set[str]] = {group.id: set() for group in entries.quota_groups}
    for pool in entries.pools:
        groups = (pool.quota_group,) if isinstance(pool.quota_group, str) else pool.quota_group
        for group in groups:
            if group in members:
                members[group].add(pool.id)
    return Registry(
        frozenset(provider.id for provider in entries.providers),
        {
            entry.id: SourceRule(
                entry.kind, entry.scope, entry.interval_max_ms, public_keys=entry.public_keys
            )
            for entry in entries.sources
        },
        frozenset(pool.id for pool in entries.pools),
        groups={group: frozenset(pools) for group, pools in members.items()},
    )


def unregistered(event: Event, registry: Registry) -> Poison | None:
    """Why the policy does not let this event's source say this; None if it does.

    Provider, source and pools must be in the policy, the source must be of a kind that sends such events, and
    everything that the event speaks of must lie in the source's scope. Events other than those of
    ``SENDERS`` need no entry.
    """
    if not isinstance(event, Report | Statement | Capacity):
        return None
    if event.provider not in registry.providers:
        return Poison(Rejection.UNKNOWN_PROVIDER, f"provider {event.provider} is not in the policy")
    if (rule := registry.sources.get(event.source)) is None:
        return Poison(Rejection.UNKNOWN_SOURCE, f"source {event.source} is not in the policy")
    pools = _pools_of(event)
    if not registry.pools.issuperset(pools):
        unknown = next(pool for pool in pools if pool not in registry.pools)
        return Poison(Rejection.UNKNOWN_POOL, f"pool {unknown} is not in the policy")
    if rule.kind and rule.kind not in SENDERS[type(event)]:
        place = f"source {event.source} is of the kind {rule.kind}, which sends no {type_of(type(event))}"
        return Poison(Rejection.NOT_ITS_KIND, place)
    if rule.scope != "*" and (outside := _outside(event, pools, rule.scope, registry)):
        place = f"source {event.source} may speak of {rule.scope} only, not of {outside}"
        return Poison(Rejection.OUT_OF_SCOPE, place)
    return None


def unsigned(event: Event, registry: Registry, topic: str, record: SignedRecord) -> Poison | None:
    """Why this record is not shown to come from the source that it names, which the policy binds to a key;
    None if it is, or if the policy names no key."""
    rule = registry.sources.get(getattr(event, "source", ""))
    if rule is None or not rule.public_keys:
        return None
    if flaw := event_flaw(topic, record, rule.public_keys):
        place = f"source {getattr(event, 'source', '')} must sign its events, and this one is {flaw}"
        return Poison(Rejection.BAD_SIGNATURE, place)
    return None


def advice(event: Event, poison: Poison, registry: Registry) -> str:
    """What the sender of a refused event can do: the most similar name that the policy has, and the remedy.

    Costs milliseconds with thousands of pools, so it is for producers and not for ingestion.
    """
    if not isinstance(event, Report | Statement | Capacity):
        return ""
    match poison.reason:
        case Rejection.UNKNOWN_PROVIDER:
            near = _near(event.provider, registry.providers)
        case Rejection.UNKNOWN_SOURCE:
            near = _near(event.source, registry.sources)
        case Rejection.UNKNOWN_POOL:
            unknown = next((pool for pool in _pools_of(event) if pool not in registry.pools), "")
            near = _near(unknown, registry.pools)
        case _:
            near = ""
    remedy = _REMEDIES.get(poison.reason, "")
    return f"did you mean {near}? Else {remedy}" if near else remedy


def _near(name: str, names: Iterable[str]) -> str:
    return next(iter(get_close_matches(name, sorted(names), 1, _SIMILARITY_MIN)), "")


def _outside(event: RegisteredEvent, pools: list[str], scope: str, registry: Registry) -> str:
    """What the event speaks of beyond the scope: a pool, a whole region or provider, a quota group."""
    places = list(pools)
    if isinstance(event, Statement) and any(not claim.pools for claim in event.claims):
        places.append(event.provider if event.region == "*" else f"{event.provider}/{event.region}")
    if isinstance(event, Capacity):
        for group in event.groups:
            members = registry.groups.get(group.group, frozenset())
            if members and not any(in_scope(pool, scope) for pool in members):
                return f"the quota group {group.group}"
    return next((place for place in places if not in_scope(place, scope)), "")


def _pools_of(event: RegisteredEvent) -> list[str]:
    match event:
        case Report():
            return [observation.pool for observation in event.pools]
        case Statement():
            return [pool for claim in event.claims for pool in claim.pools]
        case _:
            return [row.pool for row in event.pools] + [row.pool for row in event.planned]
