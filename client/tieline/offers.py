"""The events of the topic ``tieline.offers``: capacity that is asked for, and what providers answer.

The leader writes one ``OfferRequest`` whenever a request changes. Each holds the whole request, so the newest
record of an id is all that a reader needs. Who speaks for a provider answers with an ``OfferAnswer``, or an
operator does with an order (``accept`` and ``decline``, see ``Command``). The rules are in
docs/offers.md.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from tieline.event_fields import InstantMs, Name, PoolId, ProviderId, Rate, Sequence, Text

POOLS_PER_ANSWER_MAX = 100
PROVIDERS_PER_OFFER_MAX = 64
ACCEPTED_PER_OFFER_MAX = 200

OfferCause: TypeAlias = Literal["shed", "n_minus_1", "growth"]
OfferState: TypeAlias = Literal["holder", "others", "accepted", "partly_accepted", "unmet", "withdrawn"]
AnswerKind: TypeAlias = Literal["", "accepted", "declined", "silent"]
OPEN_STATES: tuple[OfferState, ...] = ("holder", "others")


class OfferedCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a provider gives on one pool: ``units_per_s`` more than the pool has, from ``from_ms`` until
    ``until_ms`` (None: as the request asks). The price is in the policy's currency; None: not stated."""

    pool: PoolId
    units_per_s: Rate
    from_ms: InstantMs | None = None
    until_ms: InstantMs | None = None
    price_per_million_units: Rate | None = None


class AcceptedCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Capacity that was accepted: fields as in ``OfferedCapacity``. ``by``: the source or the operator that
    answered, at ``accepted_ms`` by the brokers' clock."""

    pool: PoolId
    units_per_s: Rate
    from_ms: InstantMs
    until_ms: InstantMs
    by: str
    accepted_ms: InstantMs
    price_per_million_units: Rate | None = None


class AskedProvider(Struct, frozen=True, omit_defaults=True, gc=False):
    """A provider that was asked at ``asked_ms``, and what it answered: empty while it may still answer,
    ``silent`` once ``deadline_ms`` has passed without an answer. An answer after the deadline counts as long
    as the request is open."""

    provider: ProviderId
    asked_ms: InstantMs
    deadline_ms: InstantMs
    answer: AnswerKind = ""
    answered_ms: int = 0
    by: str = ""


class OfferRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="offer_request.v1"):
    """Capacity that is asked for in ``geographies`` for ``workloads``: ``units_per_s`` from ``from_ms`` until
    ``until_ms``.

    ``cause``: critical load is shed now, would be shed after one loss (``n_minus_1``), or after the growth
    that the policy names. ``state``: ``holder`` while only the holder of the first refusal is asked,
    ``others`` while the others are asked as well. All other states are ends: ``accepted`` in full,
    ``partly_accepted``, ``unmet``, or ``withdrawn`` because nothing is short any more. ``closed_ms``: when it
    ended. ``lost``: the provider or failure domain whose loss is to be survived, so that no capacity of its
    own helps; empty where load is short without a loss. ``accepted`` counts from its start to its end,
    whatever becomes of the request.
    """

    id: Name
    geographies: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100)]
    workloads: tuple[Name, ...]
    cause: OfferCause
    units_per_s: Rate
    from_ms: InstantMs
    until_ms: InstantMs
    issued_ms: InstantMs
    state: OfferState
    providers: Annotated[tuple[AskedProvider, ...], Meta(max_length=PROVIDERS_PER_OFFER_MAX)]
    accepted: Annotated[tuple[AcceptedCapacity, ...], Meta(max_length=ACCEPTED_PER_OFFER_MAX)] = ()
    closed_ms: int = 0
    lost: Annotated[str, Meta(max_length=200)] = ""

    @property
    def is_open(self) -> bool:
        """Whether an answer still counts."""
        return self.state in OPEN_STATES

    @property
    def accepted_units_per_s(self) -> float:
        """All that was accepted so far."""
        return sum(part.units_per_s for part in self.accepted)


class OfferAnswer(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="offer_answer.v1"):
    """What ``source`` says for ``provider`` to the request ``offer``: the capacity in ``offered``, or a
    refusal if there is none. The source must be registered with the kind ``fleet`` or ``quota`` and a scope
    that covers what it speaks of."""

    source: Name
    provider: ProviderId
    offer: Name
    incarnation: Name
    sequence: Sequence
    issued_ms: InstantMs
    offered: Annotated[tuple[OfferedCapacity, ...], Meta(max_length=POOLS_PER_ANSWER_MAX)] = ()
    text: Text = ""
