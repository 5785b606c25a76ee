"""Requests for capacity in words: the same at the terminal, on the page and in the history."""

from controller.core.model.words import duration
from tieline.offers import AcceptedCapacity, AskedProvider, OfferCause, OfferRequest, OfferState

CAUSES: dict[OfferCause, str] = {
    "shed": "load is shed now",
    "n_minus_1": "critical load would have no room after one loss",
    "growth": "load would have no room after the growth that the policy names",
}
STATES: dict[OfferState, str] = {
    "holder": "the holder of the first refusal is asked",
    "others": "everybody is asked",
    "accepted": "accepted",
    "partly_accepted": "accepted in part",
    "unmet": "nobody gives anything",
    "withdrawn": "withdrawn, as nothing is short any more",
}


def is_of_interest(request: OfferRequest, at_ms: int) -> bool:
    """Whether the request is open, or anything of it counts at this instant or will."""
    return request.is_open or any(at_ms < part.until_ms for part in request.accepted)


def request_words(request: OfferRequest, unit: str) -> str:
    """``20,000 tokens/s in eu for chat (eu-6925f2a1)``."""
    places, workloads = ", ".join(request.geographies), ", ".join(request.workloads)
    return f"{request.units_per_s:,.0f} {unit}/s in {places} for {workloads} ({request.id})"


def asked_words(item: AskedProvider, at_ms: int) -> str:
    """``azure accepted, by kim``, ``gcp has 14 min to answer``."""
    by = f", by {item.by}" if item.by else ""
    match item.answer:
        case "accepted":
            return f"{item.provider} accepted{by}"
        case "declined":
            return f"{item.provider} declined{by}"
        case "silent":
            return f"{item.provider} let its deadline pass"
        case _:
            return f"{item.provider} has {duration(max(item.deadline_ms - at_ms, 0))} to answer"


def accepted_words(part: AcceptedCapacity, at_ms: int, unit: str) -> str:
    """``5,000 tokens/s more on azure/eu/gpt in 10 min, for 30 d, by kim``: as it is at ``at_ms``."""
    amount = f"{part.units_per_s:,.0f} {unit}/s more on {part.pool}"
    if at_ms >= part.until_ms:
        return f"{amount}, over"
    when = "counting" if at_ms >= part.from_ms else f"in {long_duration(part.from_ms - at_ms)}"
    length_ms = part.until_ms - max(at_ms, part.from_ms)
    price = f", at {part.price_per_million_units:g}" if part.price_per_million_units is not None else ""
    return f"{amount}, {when}, for {long_duration(length_ms)}{price}, by {part.by}"


def long_duration(milliseconds: int) -> str:
    """In days where they are two or more, else as all durations."""
    days = milliseconds // 86_400_000
    return f"{days} d" if days >= 2 else duration(milliseconds)
