"""What a client's reports say of the client itself."""

import tieline
from tests.waiting import until
from tieline.events import Demand
from tieline.testing import FakePools


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Demand] = []

    def post(self, event: Demand) -> None:
        """Takes one report."""
        self.events.append(event)


async def test_the_last_report_says_goodbye() -> None:
    """A client that closes is off, and no report before that says so."""
    sink, pools = Kept(), FakePools({"azure/swedencentral/gpt-4o": 1}, model="chat-large")
    async with tieline.AsyncClient(pools, workload="chat", origin="eu", kafka=sink) as client:
        await client.ready()
        await client.flush()
        await until(lambda: bool(sink.events))
    assert sink.events[-1].state == "off"
    assert {event.state for event in sink.events[:-1]} == {"live"}
