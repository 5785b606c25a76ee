"""What happened to requests for capacity between two decisions, and what was accepted, as entries. Pure."""

from collections.abc import Iterator

from controller.core.offers.words import CAUSES, STATES, accepted_words, asked_words, request_words
from controller.decisions.record import Step
from controller.history.entries import Entry
from tieline.offers import OfferRequest

KIND = "offer"


def offer_entries(step: Step, controller: str) -> list[Entry]:
    """Who was asked, who answered, and what ended in this step."""
    memory = step.snapshot.memory
    before = {request.id: request for request in memory.offers} if memory is not None else {}
    unit = step.published.settings.load_unit
    return [
        entry
        for request in step.ready.memory.offers
        if (was := before.get(request.id)) is not request
        for entry in _news(was, request, step.now_ms, controller=controller, unit=unit)
    ]


def _news(
    was: OfferRequest | None, now: OfferRequest, at_ms: int, *, controller: str, unit: str
) -> Iterator[Entry]:
    asked_before = {item.provider: item for item in was.providers} if was is not None else {}
    for item in now.providers:
        before = asked_before.get(item.provider)
        if before is None:
            yield Entry(
                at_ms,
                KIND,
                item.provider,
                text=f"{item.provider} is asked for {request_words(now, unit)}",
                severity="warning",
                key=f"offer:{now.id}:asked:{item.provider}",
                who=controller,
                why=(CAUSES[now.cause],),
                until_ms=item.deadline_ms,
            )
        if item.answer and (before is None or before.answer != item.answer):
            yield Entry(
                at_ms,
                KIND,
                item.provider,
                text=f"{asked_words(item, at_ms)}: {request_words(now, unit)}",
                severity="info" if item.answer == "accepted" else "warning",
                key=f"offer:{now.id}:{item.answer}:{item.provider}",
                who=item.by or controller,
            )
    if not now.is_open and (was is None or was.is_open):
        yield Entry(
            at_ms,
            KIND,
            "+".join(now.geographies),
            text=f"the request for {request_words(now, unit)} has ended: {STATES[now.state]}",
            severity="warning" if now.state in ("unmet", "partly_accepted") else "info",
            key=f"offer:{now.id}:ended",
            who=controller,
        )


def capacity_conditions(requests: tuple[OfferRequest, ...], at_ms: int, unit: str) -> Iterator[Entry]:
    """One condition for each part of accepted capacity, while it counts."""
    for request in requests:
        for part in request.accepted:
            if part.from_ms <= at_ms < part.until_ms:
                yield Entry(
                    at_ms,
                    KIND,
                    part.pool,
                    text=accepted_words(part, at_ms, unit),
                    phase="begins",
                    key=f"offer:{request.id}:{part.pool}",
                    who=part.by,
                    until_ms=part.until_ms,
                )
