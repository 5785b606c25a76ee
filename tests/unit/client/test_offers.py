"""Requests for capacity and their answers on the wire: keys, and what contradicts itself."""

import pytest
from msgspec.structs import replace

from tieline.cloudevents import Poison, decode, encode
from tieline.events import Command, Event
from tieline.misfits import misfit
from tieline.offers import AskedProvider, OfferAnswer, OfferedCapacity, OfferRequest

NOW_MS = 1_790_000_000_000

REQUEST = OfferRequest(
    id="eu-1",
    geographies=("eu",),
    workloads=("chat",),
    cause="n_minus_1",
    units_per_s=100.0,
    from_ms=NOW_MS,
    until_ms=NOW_MS + 1,
    issued_ms=NOW_MS,
    state="holder",
    providers=(AskedProvider("azure", NOW_MS, NOW_MS + 5),),
)
ANSWER = OfferAnswer("liaison", "azure", "eu-1", "one", 1, NOW_MS, (OfferedCapacity("azure/eu/gpt", 5.0),))


@pytest.mark.parametrize(("event", "key"), [(REQUEST, b"eu-1"), (ANSWER, b"eu-1/azure/liaison")])
def test_requests_and_answers_of_capacity_come_back_as_they_were(event: Event, key: bytes) -> None:
    """Each under its own key, so that the newest record of a key is the whole of it."""
    record = encode(event, time_ms=NOW_MS)
    assert record.key == key
    assert decode(record.headers, record.value, record.key) == event


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        (replace(REQUEST, until_ms=NOW_MS), "until_ms is not after from_ms"),
        (replace(ANSWER, provider="gcp"), "pool azure/eu/gpt is not in gcp"),
        (replace(ANSWER, offered=ANSWER.offered * 2), "a pool is named twice"),
        (
            replace(ANSWER, offered=(OfferedCapacity("azure/eu/gpt", 0.0),)),
            "units_per_s of azure/eu/gpt must be above 0; decline to give nothing",
        ),
        (
            replace(ANSWER, offered=(OfferedCapacity("azure/eu/gpt", 1.0, NOW_MS, NOW_MS),)),
            "until_ms of azure/eu/gpt is not after its from_ms",
        ),
    ],
)
def test_a_contradictory_request_or_answer_is_refused(event: Event, fault: str) -> None:
    """By its producer already."""
    with pytest.raises(Poison) as refusal:
        encode(event, time_ms=NOW_MS)
    assert refusal.value.place == fault


def order(verb: str = "accept", scope: str = "azure/eu/gpt", **more: object) -> Command:
    """An operator's answer; ``more`` replaces fields."""
    fields: dict[str, object] = {"offer": "eu-1", "expires_ms": NOW_MS + 1}
    if verb == "accept":
        fields["offered"] = OfferedCapacity("azure/eu/gpt", 5.0)
    fields |= more
    return Command("a", verb, scope, "kim", "why", NOW_MS, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (order(), None),
        (order("decline", "azure"), None),
        (order(offer=""), "accept needs offer"),
        (order(offered=None), "accept needs offered"),
        (order(scope="azure/eu/other"), "accept needs the pool in offered as its scope"),
        (order("decline", "azure", offered=OfferedCapacity("azure/eu/gpt", 5.0)), "decline has no offered"),
        (order("decline", "azure/eu/gpt"), "decline needs a provider as its scope"),
        (order("drain", "azure"), "drain names no offer"),
        (
            order(offered=OfferedCapacity("azure/eu/gpt", 0.0)),
            "units_per_s of azure/eu/gpt must be above 0; decline to give nothing",
        ),
    ],
)
def test_an_order_that_answers_names_the_request_and_what_is_given(
    command: Command, fault: str | None
) -> None:
    """And no other order does."""
    assert misfit(command) == fault


def test_a_request_is_open_while_somebody_may_answer() -> None:
    """While the holder of the first refusal is asked, and while the others are."""
    states = ("holder", "others", "accepted", "partly_accepted", "unmet", "withdrawn")
    requests = [replace(REQUEST, state=state) for state in states]
    assert [request.is_open for request in requests] == [True, True, False, False, False, False]
