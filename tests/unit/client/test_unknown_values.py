"""Values that a newer producer of the same version may write, and what an older reader takes them for."""

from typing import Any

import msgspec
import pytest

from tests.unit.client.test_cloudevents import EVENTS, NOW_MS, REPORT
from tieline.cloudevents import JSON, MSGPACK, Poison, Rejection, decode, encode
from tieline.events import Claim, Demand, Event, PoolObservation, Report, ResultClass, Statement
from tieline.offers import OfferRequest

STATEMENT = EVENTS["azure/*/azure-status/status"]
DEMAND = EVENTS["gateway-1"]
ORDER = EVENTS["azure"]
REQUEST = OfferRequest(
    id="offer-1",
    geographies=("eu",),
    workloads=("chat",),
    cause="shed",
    units_per_s=5.0,
    from_ms=NOW_MS,
    until_ms=NOW_MS + 60_000,
    issued_ms=NOW_MS,
    state="holder",
    providers=(),
)


def read(event: Event, content_type: str = MSGPACK, **changes: Any) -> Event:
    """The event of a record in whose body some fields have other values than ours may have."""
    record = encode(event, time_ms=NOW_MS, content_type=content_type)
    body_format = msgspec.msgpack if content_type == MSGPACK else msgspec.json
    body = body_format.encode({**body_format.decode(record.value), **changes})
    return decode(record.headers, body, record.key)


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_an_unknown_state_of_a_claim_counts_as_degraded(content_type: str) -> None:
    """Somebody says that something is wrong; the claims beside it are read as they are."""
    expires_ms = NOW_MS + 60_000
    claims = [{"state": "read_only", "expires_ms": expires_ms}, {"state": "down", "expires_ms": expires_ms}]
    event = read(STATEMENT, content_type, claims=claims)
    assert isinstance(event, Statement)
    assert event.claims == (Claim("degraded", expires_ms), Claim("down", expires_ms))


@pytest.mark.parametrize("event", [REPORT, DEMAND])
def test_an_unknown_reason_to_keep_away_counts_as_a_server_error(event: Event) -> None:
    """The process has left the pool, and that is what counts."""
    row = {"pool": "azure/swedencentral/gpt-4o", "outcomes": {"ok": 3}, "ejected": "overloaded"}
    after = read(event, pools=[row])
    assert isinstance(after, type(REPORT) | Demand)
    [observation] = after.pools
    assert (observation.ejected, observation.outcomes.ok) == (ResultClass.SERVER_ERROR, 3)


def test_an_unknown_state_of_a_client_is_no_goodbye() -> None:
    """Its load goes on counting."""
    event = read(DEMAND, state="draining")
    assert isinstance(event, Demand)
    assert event.state == "live"
    assert event.flows == getattr(DEMAND, "flows", ())


def test_an_unknown_state_of_a_request_for_capacity_is_an_end() -> None:
    """Nobody answers what may be over; what was accepted counts all the same."""
    changes = {"state": "auctioned", "cause": "vanity"}
    asked = {"provider": "azure", "asked_ms": NOW_MS, "deadline_ms": NOW_MS, "answer": "pondering"}
    after = read(REQUEST, **changes, providers=[asked])
    assert isinstance(after, OfferRequest)
    assert (after.state, after.cause, after.providers[0].answer) == ("withdrawn", "growth", "silent")
    assert not after.is_open


def test_an_unknown_result_class_is_not_counted() -> None:
    """Attempts of a class that this version does not know speak neither for nor against the pool."""
    pool = "azure/swedencentral/gpt-4o"
    after = read(REPORT, pools=[{"pool": pool, "outcomes": {"ok": 2, "hallucinated": 5}}])
    assert isinstance(after, Report)
    assert after.pools[0].outcomes.health_attempts == 2


@pytest.mark.parametrize(
    ("event", "changes", "field"),
    [
        (ORDER, {"verb": "obliterate"}, "verb"),
        (ORDER, {"state": "exploded"}, "state"),
        (ORDER, {"mode": "panic"}, "mode"),
        (STATEMENT, {"kind": "rumour"}, "kind"),
    ],
)
def test_what_must_not_be_guessed_is_refused(event: Event, changes: dict[str, str], field: str) -> None:
    """An order is never read as another one, nor a statement of one kind as one of another."""
    with pytest.raises(Poison, match=field) as caught:
        read(event, **changes)
    assert caught.value.reason == Rejection.INVALID


@pytest.mark.parametrize("state", [7, None, ["down"], {"a": 1}])
def test_only_words_are_tolerated(state: object) -> None:
    """A state of another type stays a fault."""
    with pytest.raises(Poison, match=r"claims\[0\]\.state"):
        read(STATEMENT, claims=[{"state": state, "expires_ms": NOW_MS + 60_000}])


def test_another_fault_in_the_same_record_is_still_found() -> None:
    """Tolerance of a value excuses nothing else."""
    with pytest.raises(Poison, match="expires_ms"):
        read(STATEMENT, claims=[{"state": "read_only", "expires_ms": -1}])
    with pytest.raises(Poison, match="sequence"):
        read(DEMAND, state="draining", sequence=-1)


@pytest.mark.parametrize("rows", [None, 7, "pools", [7], {"state": "x"}])
def test_rows_of_another_type_are_refused_as_before(rows: object) -> None:
    """Nothing but ``Poison`` comes out, whatever stands where rows should be."""
    with pytest.raises(Poison, match=r"\$\.claims"):
        read(STATEMENT, claims=rows)


def test_what_we_write_has_known_values_only() -> None:
    """A producer of this version learns of a state that it misspelt."""
    wrong: Any = "operatonal"
    with pytest.raises(Poison, match="state"):
        encode(msgspec.structs.replace(STATEMENT, claims=(Claim(wrong, NOW_MS + 60_000),)), time_ms=NOW_MS)
    with pytest.raises(Poison, match="ejected"):
        encode(msgspec.structs.replace(REPORT, pools=(PoolObservation(POOL, ejected=wrong),)), time_ms=NOW_MS)


POOL = "azure/swedencentral/gpt-4o"
