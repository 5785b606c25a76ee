"""`tieline collect` as a process: over real HTTP to a real Kafka, for several collectors of which one
fails."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.integration.collecting import FeedServer, Served
from tests.integration.controllers import ControllerProcess, settings_of, tieline
from tests.integration.ingesting import read_all
from tests.integration.replicated import create_topics
from tests.unit.controller.collect.feeds.shapes import SHAPES
from tests.unit.controller.collect.feeds.truths import Ill, Truth
from tests.waiting import until
from tieline.cloudevents import decode
from tieline.events import Statement
from tieline.topics import Topics

FILE = """
collectors:
  - kind: oracle_status
    name: status-oci
    url: {url}/oracle
    interval_s: 1
    provider: oci
    regions: {{us-chicago-1: [us-chicago-1], uk-london-1: [uk-london-1]}}
    products: {{Generative AI: []}}
  - kind: azure_status
    name: status-azure
    url: {url}/azure
    interval_s: 1
    provider: azure
    regions: {{Sweden Central: [swedencentral]}}
    products: {{"*": []}}
"""
ORACLE = SHAPES["oracle"]
ILL = Truth((Ill("outage", ORACLE.product, ("us-chicago-1",)),))


async def statements(kafka: str, topic: str) -> list[Statement]:
    """All statements on a topic."""
    events = [decode(row.headers, row.value, row.key) for row in await read_all(kafka, topic)]
    return [event for event in events if isinstance(event, Statement)]


async def test_a_process_states_what_pages_say(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """The page that can be read is stated and taken back, the one that can't states nothing; SIGTERM ends
    it."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    topics = Topics(settings.namespace, partitions=1)
    await create_topics(kafka_bootstrap, topics)
    topic = topics.statements.name
    rng = random.Random(1)
    async with FeedServer().listening() as server, AsyncExitStack() as closing:
        server.answers["/oracle"] = Served(body=ORACLE.write(ILL, rng))
        server.answers["/azure"] = Served(headers={"Content-Type": "text/html"}, body=b"<html>well</html>")
        file = tmp_path / "collectors.yaml"
        file.write_text(FILE.format(url=server.url))
        checked = await tieline(settings, "collect", str(file), "--check")
        assert (checked.status, "2 collectors and 0 hooks: status-oci" in checked.out) == (0, True), (
            checked.err
        )
        once = await tieline(settings, "collect", str(file), "--once")
        assert (once.status, once.out.count('"type":"statement.v1"')) == (1, 4), once.err
        assert "status-azure: can't be read: the answer is text/html" in once.out
        process = ControllerProcess(settings, tmp_path / "collect.log", "collect", str(file))
        await process.start()
        closing.push_async_callback(process.kill)
        await process.until_said("can't be read, and states nothing")

        async def last() -> Statement | None:
            rows = await statements(kafka_bootstrap, topic)
            of_chicago = [row for row in rows if (row.region, row.kind) == ("us-chicago-1", "status")]
            assert {row.source for row in rows} <= {"status-oci"}
            return max(of_chicago, key=lambda row: row.sequence, default=None)

        async def states() -> list[str] | None:
            row = await last()
            return None if row is None else [claim.state for claim in row.claims]

        async def is_down() -> bool:
            return await states() == ["down"]

        async def is_taken_back() -> bool:
            return await states() == []

        await until(is_down, what="the outage is stated")
        server.answers["/oracle"] = Served(body=ORACLE.write(Truth(), rng))
        await until(is_taken_back, what="the outage is taken back")
        assert await process.stop() == 0
