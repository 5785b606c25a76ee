"""What Envoy tells is in the reports of the client of its workload; what can't be read is counted."""

import tieline
from controller.envoy.bootstrap import REQUEST
from controller.envoy.collector import OutcomeCollector
from controller.envoy.pools import ATTEMPT
from tests.unit.client.made_tables import MODEL, generation, part
from tests.unit.controller.envoy.test_outcomes import ANSWERED, POOL, STREAMED, message
from tieline.events import Demand
from tieline.proxying import Proxied
from tieline.table import MILLION


def attempt(**fields: str) -> str:
    """The line of an attempt."""
    return "\t".join((ATTEMPT, *{**ANSWERED, "model": MODEL, **fields}.values()))


def request(name: str, body_bytes: int, output_max: str = "-") -> str:
    """The line of a request."""
    answer = ("200", "via_upstream", str(body_bytes), output_max)
    return "\t".join((REQUEST, name, *answer, "chat", "eu", MODEL))


def taken(*lines: str) -> tuple[OutcomeCollector, Demand]:
    """What becomes of these lines."""
    client = tieline.AsyncClient("redis://127.0.0.1:1", workload="chat", origin="eu")
    client.core.router.apply(generation(part({POOL: MILLION}), 1))
    collector = OutcomeCollector({"chat": Proxied(client)})
    collector.take(message(*lines))
    return collector, client._reporter.take()


def test_load_is_what_answers_say_or_else_an_estimate() -> None:
    """A whole answer's usage; for a stream without one, its prompt and a token for each event; nothing for
    what served nobody."""
    collector, demand = taken(
        attempt(usage="30+12"),
        attempt(**STREAMED, done="1", usage="", body_bytes="400", events="7"),
        attempt(status="503"),
        attempt(details="downstream_remote_disconnect"),
    )
    (row,) = demand.pools
    assert (row.outcomes.ok, row.outcomes.server_error) == (2, 1)
    assert 42 + 7 < row.units < 42 + 7 + 110
    assert (collector.lines, collector.refused, collector.strange) == (4, 0, 0)


def test_requests_are_the_clients_demand() -> None:
    """Those that were shed as well, each with its load."""
    _, demand = taken(request("chat/eu/x", 400, "50"), request("shed chat/eu", 400), request("nowhere", 400))
    (flow,) = demand.flows
    assert (flow.requests, flow.shed_requests) == (2, 1)
    assert (flow.offered_units, flow.shed_units) == (100 + 50 + 100 + 256, 100 + 256)


def test_what_can_not_be_read_is_counted_and_the_rest_is_taken() -> None:
    """A line of another form, a pool that is not in the table, a workload that is not followed."""
    collector, demand = taken(
        "junk",
        attempt(pool="aws/nowhere/x"),
        attempt(workload="unknown"),
        attempt(),
    )
    assert (collector.lines, collector.refused, collector.strange) == (4, 1, 2)
    assert demand.pools[0].outcomes.ok == 1
    collector.take(b"\x0b")
    assert collector.refused == 2
