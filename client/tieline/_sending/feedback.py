"""Whether the controllers take what a producer sends: asked before it is sent, and heard afterwards."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from tieline._process import clock as _clock
from tieline._sending.connection import Delivery
from tieline._sending.own_letters import OwnLetter, OwnLetters
from tieline._sending.published_policy import PublishedPolicy
from tieline.cloudevents import Encoded, Poison
from tieline.errors import RefusedError
from tieline.events import Capacity, Event, Report, Statement
from tieline.kafka import Brokers
from tieline.registration import SENDERS, Registry, advice, unregistered, unsigned
from tieline.topics import Topics

LOG_EVERY_S = 60.0

_log = logging.getLogger("tieline")


class Refusal(NamedTuple):
    """An event that the controllers do not take.

    ``reason``: a value of ``cloudevents.Rejection``. ``place``: what is wrong in which field, and what to do.
    ``event_id``: the ``ce_id`` of its record. ``by``: the published ``policy``, so that the event was never
    sent, or a dead ``letter``, which the controllers wrote after it was.
    """

    reason: str
    place: str
    event_id: str
    by: Literal["policy", "letter"]


class Feedback:
    """Counts refusals by reason, logs each reason at most once a minute, and tells ``on_refused``.

    Nothing is connected before the first report, statement or capacity. Without ``enabled`` nothing ever is,
    and no event is refused here. Used in one event loop.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        topics: Topics,
        *,
        enabled: bool,
        on_refused: Callable[[Refusal], None] | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._topics: dict[type[Event], str] = {
            Report: topics.reports.name,
            Statement: topics.statements.name,
            Capacity: topics.capacity.name,
        }
        self._enabled = enabled
        self._on_refused = on_refused
        self._policy = PublishedPolicy(bootstrap, topics.routes.name)
        self._letters = OwnLetters(bootstrap, topics.deadletter.name, self._letter)
        self._logged_s: dict[str, float] = {}  # by reason

    @property
    def error(self) -> str:
        """Why refusals can't be known now; empty if they can, or are not wanted."""
        return (self._policy.error or self._letters.error) if self._enabled else ""

    async def refusal(self, event: Event, encoded: Encoded) -> Refusal | None:
        """Why the policy in force does not let the event's source say this; None if it does, or if the policy
        is not known. Waits for at most some seconds."""
        if not self._enabled or type(event) not in SENDERS:
            return None
        registry = await self._policy.registry()
        if registry is None or self._poison(event, encoded, registry) is None:
            return None
        registry = await self._policy.registry(fresh=True)
        if registry is None or (poison := self._poison(event, encoded, registry)) is None:
            return None
        place = f"{poison.place}: {advice(event, poison, registry)}"
        return Refusal(poison.reason, place, event_id=_id_of(encoded), by="policy")

    def _poison(self, event: Event, encoded: Encoded, registry: Registry) -> Poison | None:
        topic = self._topics[type(event)]
        return unregistered(event, registry) or unsigned(event, registry, topic, encoded)

    def sent(self, encoded: Encoded, delivery: Delivery) -> None:
        """Kafka acknowledged this record: from now on its dead letter would be noticed."""
        if self._enabled:
            self._letters.sent(encoded.headers, delivery.timestamp_ms)

    def note(self, refusal: Refusal) -> None:
        """Count a refusal, log it, and tell the application."""
        self.counts[refusal.reason] += 1
        now_s = _clock.monotonic_s()
        logged_s = self._logged_s.get(refusal.reason)
        if logged_s is None or now_s - logged_s >= LOG_EVERY_S:
            self._logged_s[refusal.reason] = now_s
            _log.error(
                "the controllers do not take event %s (%s): %s",
                refusal.event_id,
                refusal.reason,
                refusal.place,
            )
        if self._on_refused is not None:
            try:
                self._on_refused(refusal)
            except Exception:  # noqa: BLE001  the application's own, and no reason to stop sending
                _log.exception("on_refused raised an error")

    async def stop(self) -> None:
        """Close what was opened."""
        await self._policy.stop()
        await self._letters.stop()

    def _letter(self, letter: OwnLetter) -> None:
        self.note(Refusal(letter.reason, letter.place, event_id=letter.event_id, by="letter"))


def refused(refusal: Refusal) -> RefusedError:
    """The error for whoever sent the event."""
    return RefusedError(f"the policy in force does not take it ({refusal.reason}): {refusal.place}")


def _id_of(encoded: Encoded) -> str:
    return next((value.decode() for name, value in encoded.headers if name == "ce_id"), "")
