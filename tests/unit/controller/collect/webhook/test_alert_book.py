"""Single alerts become whole statements: of every region that changed, with everything that is claimed."""

from hypothesis import given
from hypothesis import strategies as st

from controller.collect.webhook.alert_book import Alert, AlertBook, AlertState, fit_id
from tieline.cloudevents import encode
from tieline.events import CLAIMS_PER_EVENT_MAX, Statement

NOW_MS = 1_795_773_600_000


def book() -> AlertBook:
    """An empty book whose claims count for a minute."""
    return AlertBook("alerts", "inc", 60_000)


def alert(name: str, *places: str, state: AlertState | None = "down", ends_ms: int | None = None) -> Alert:
    """An alert with a text."""
    return Alert(name, places, state, "words", ends_ms=ends_ms)


def taken(claims: AlertBook, *alerts: Alert, now_ms: int = NOW_MS) -> list[Statement]:
    """The statements after these alerts, all delivered."""
    claims.take(alerts, now_ms)
    statements = list(claims.due(now_ms))
    for statement in statements:
        claims.delivered(statement)
    return statements


def summary(statement: Statement) -> tuple[str, str, list[tuple[str, tuple[str, ...]]]]:
    """Its region, kind, and the text and pools of its claims."""
    place = f"{statement.provider}/{statement.region}"
    return place, statement.kind, [(claim.text, claim.pools) for claim in statement.claims]


def test_a_statement_is_all_that_is_claimed_of_its_region() -> None:
    """A second alert of a region does not end the first; pools, regions and providers have their places."""
    claims = book()
    (first,) = taken(claims, alert("a", "azure/eastus/x", "azure/eastus/y"))
    assert summary(first) == (
        "azure/eastus",
        "status",
        [("words [a]", ("azure/eastus/x", "azure/eastus/y"))],
    )
    (second,) = taken(claims, alert("b", "azure/eastus"))
    assert [name for name, _ in summary(second)[2]] == ["words [a]", "words [b]"]
    assert summary(second)[2][1] == ("words [b]", ())
    assert second.sequence > first.sequence
    (everywhere,) = taken(claims, alert("c", "azure"))
    assert summary(everywhere)[0] == "azure/*"
    (planned,) = taken(claims, alert("d", "azure/eastus", state="maintenance"))
    assert summary(planned) == ("azure/eastus", "maintenance", [("words [d]", ())])


def test_a_whole_region_outweighs_the_pools_in_it() -> None:
    """The claim is about the region, whichever is named first."""
    for places in (("gcp/us/a", "gcp/us"), ("gcp/us", "gcp/us/a")):
        (statement,) = taken(book(), alert("a", *places))
        assert summary(statement)[2] == [("words [a]", ())]


def test_an_alert_that_ends_takes_its_claims_with_it() -> None:
    """In every region where it had some; one that moves leaves the places where it was."""
    claims = book()
    taken(claims, alert("a", "azure/eastus", "gcp/us-east1"), alert("b", "azure/eastus"))
    moved = taken(claims, alert("a", "oci/us-ashburn-1"))
    assert {summary(statement)[0]: len(statement.claims) for statement in moved} == {
        "azure/eastus": 1,
        "gcp/us-east1": 0,
        "oci/us-ashburn-1": 1,
    }
    (ended,) = taken(claims, alert("b", state=None))
    assert (summary(ended)[0], ended.claims) == ("azure/eastus", ())
    assert taken(claims, alert("b", state=None)) == []


def test_what_was_not_delivered_is_due_again() -> None:
    """Also an end, so that no push is lost because Kafka was away."""
    claims = book()
    taken(claims, alert("a", "azure/eastus"))
    claims.take([alert("a", state=None)], NOW_MS)
    (first,) = claims.due(NOW_MS)
    (second,) = claims.due(NOW_MS)
    assert first.claims == second.claims == ()
    assert second.sequence > first.sequence
    claims.delivered(second)
    assert claims.due(NOW_MS) == ()


def test_what_is_refused_does_not_stand_in_the_way() -> None:
    """The alerts that were pushed now leave the statement; at last all of it is given up."""
    claims = book()
    taken(claims, alert("good", "azure/eastus"))
    bad = alert("bad", "azure/eastus/nowhere")
    claims.take([bad], NOW_MS)
    (refused,) = claims.due(NOW_MS)
    claims.give_up(refused, [bad])
    (rest,) = claims.due(NOW_MS)
    assert summary(rest)[2] == [("words [good]", ())]
    claims.give_up(rest, None)
    assert claims.due(NOW_MS) == ()
    claims.take([bad], NOW_MS)
    (refused,) = claims.due(NOW_MS)
    claims.give_up(refused, [bad])
    assert claims.due(NOW_MS) == ()


def test_claims_end_by_themselves() -> None:
    """After their time, or at the end that the alert names; a push renews them."""
    claims = book()
    (statement,) = taken(claims, alert("a", "azure/eastus"), alert("b", "azure/eastus", ends_ms=NOW_MS + 5))
    assert [claim.expires_ms - NOW_MS for claim in statement.claims] == [60_000, 5]
    (later,) = taken(claims, alert("c", "azure/eastus"), now_ms=NOW_MS + 60_000)
    assert [claim.text for claim in later.claims] == ["words [c]"]


def test_a_restart_forgets_nothing() -> None:
    """An alert that was claimed by an earlier process is ended by its id; one without an id by its expiry."""
    earlier = book()
    statements = taken(earlier, alert("id with [brackets]", "azure/eastus"), alert("b", "azure/eastus"))
    later = book()
    later.restore(statements[-1])
    (ended,) = taken(later, alert("id with [brackets]", state=None))
    assert [claim.text for claim in ended.claims] == ["words [b]"]


def test_a_region_has_no_more_claims_than_an_event_may() -> None:
    """The newest stay."""
    claims = book()
    statements = taken(claims, *(alert(f"n{n}", "azure/eastus") for n in range(CLAIMS_PER_EVENT_MAX + 5)))
    assert len(statements[-1].claims) == CLAIMS_PER_EVENT_MAX
    assert statements[-1].claims[-1].text == f"words [n{CLAIMS_PER_EVENT_MAX + 4}]"


@given(
    st.text(),
    st.text(max_size=400),
    st.lists(
        st.sampled_from(["azure", "azure/eastus", "azure/eastus/x", "gcp/us/Y"]), min_size=1, max_size=4
    ),
    st.sampled_from(["degraded", "down", "maintenance"]),
)
def test_every_statement_keeps_the_contract(
    name: str, words: str, places: list[str], state: AlertState
) -> None:
    """Whatever ids and texts the senders invent."""
    claims = book()
    for statement in taken(claims, Alert(name, tuple(places), state, words[:300])):
        encode(statement, time_ms=NOW_MS)
        later = book()
        later.restore(statement)
        assert all(not ended.claims for ended in taken(later, Alert(name, (), None)))
    assert fit_id(name) == fit_id(fit_id(name))


def test_a_region_of_which_nothing_is_claimed_is_forgotten() -> None:
    """A sender that makes up regions does not fill the memory: what ended, or was refused, leaves nothing."""
    claims = book()
    for number in range(5):
        taken(claims, alert("a", f"azure/made-up-{number}"))
    taken(claims, alert("a", state=None))
    assert not claims._claims
    claims.take([alert("b", "azure/refused")], NOW_MS)
    (statement,) = claims.due(NOW_MS)
    claims.give_up(statement, None)
    assert not claims._claims
    assert not list(claims.due(NOW_MS))
