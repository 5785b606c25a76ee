"""Requests for capacity keep their promises whatever is short, whoever answers, and whenever."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.model.dispatch_plan import Plan
from controller.core.snapshot import LoggedAnswer
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import (
    ENOUGH,
    RULES,
    Flowing,
    answer,
    plan,
    short_by,
)
from tieline.offers import OfferedCapacity, OfferRequest

HOLDER = "azure"
POOLS = {"azure": "azure/a/d", "gcp": "gcp/b/d", "oci": "oci/c/d"}
EU_AND_US = ("eu", "us")


class Step(NamedTuple):
    """What happens after some minutes: how much is short (None: no fresh plan), and who answers what (0 units
    is a refusal)."""

    after_minutes: float
    short_units: float | None
    geographies: tuple[str, ...]
    provider: str | None
    units: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from([0.5, 1.0, 5.0, 15.0, 70.0]),
        st.sampled_from([None, 0.0, 40.0, 80.0, 400.0]),
        st.sampled_from([("eu",), EU_AND_US]),
        st.sampled_from([None, *POOLS]),
        st.sampled_from([0.0, 30.0, 100.0, 1_000.0]),
    ),
    min_size=4,
    max_size=30,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_a_request_keeps_the_first_refusal_and_ends_once(steps: list[Step]) -> None:
    """At most one request is open for a geography. Nobody but the holder is asked before it has answered or
    its deadline has passed, nobody who is only observed is asked at all, and only who was asked gives
    capacity. What has ended stays as it is, and deciding again changes nothing."""
    flowing, answers = Flowing(), list[LoggedAnswer]()
    minutes, ended = 0.0, dict[str, OfferRequest]()
    for step in steps:
        minutes += step.after_minutes
        open_ones = [request for request in flowing.memory.offers if request.is_open]
        if step.provider and open_ones:
            pool = OfferedCapacity(POOLS[step.provider], step.units)
            parts = (pool,) if step.units else ()
            answers.append(answer(open_ones[0], step.provider, *parts, at=minutes))
        last_plan = None if step.short_units is None else _plan(step.short_units, step.geographies)
        requests = flowing.at(minutes, last_plan, answers=answers)
        _check_open(requests)
        for request in requests:
            _check_asked(request)
            assert ended.get(request.id, request) == request
        ended = {request.id: request for request in requests if not request.is_open}
        assert flowing.at(minutes, last_plan, answers=answers) is requests


def _plan(units: float, geographies: tuple[str, ...]) -> Plan:
    return plan(short_by(units, geographies=geographies)) if units else ENOUGH


def _check_open(requests: tuple[OfferRequest, ...]) -> None:
    wanted = [name for request in requests if request.is_open for name in request.geographies]
    assert len(wanted) == len(set(wanted))
    assert len({request.id for request in requests}) == len(requests)


def _check_asked(request: OfferRequest) -> None:
    asked = {item.provider: item for item in request.providers}
    assert "oci" not in asked
    assert request.providers[0].provider == HOLDER
    holder = asked[HOLDER]
    if len(asked) > 1 or request.state == "others":
        assert holder.answer
        assert holder.answer != "silent" or holder.answered_ms == holder.deadline_ms
    if request.state == "accepted":
        assert request.accepted_units_per_s >= request.units_per_s
    for part in request.accepted:
        assert asked[part.pool.split("/")[0]].answer == "accepted"
        assert part.accepted_ms >= request.issued_ms
        assert request.is_open or part.accepted_ms <= request.closed_ms
    assert request.issued_ms >= NOW_MS + RULES.short_for_ms
