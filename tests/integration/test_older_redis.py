"""A Redis that is taken back to an older copy under a running ingesting part."""

from __future__ import annotations

from controller.process.clock import now_ms
from streams.app import Ingest, IngestSettings
from streams.tables import RedisTables
from tests.integration.ingesting import REGISTRY
from tests.integration.replicated import create_topics
from tests.waiting import until
from tieline.events import Claim, Statement
from tieline.producer import Producer
from tieline.redis_client import connect


def statement(sequence: int, state: str) -> Statement:
    now = now_ms()
    claim = Claim(state, now + 3_600_000)  # type: ignore[arg-type]
    return Statement(
        source="status-1",
        provider="azure",
        region="r0",
        kind="status",
        incarnation="one",
        sequence=sequence,
        issued_ms=now,
        claims=(claim,),
    )


async def test_a_statement_that_the_copy_lacks_comes_back(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """The source says nothing again, and the newest statement is still in the tables seconds later."""
    settings = IngestSettings(kafka_bootstrap, prefix.rstrip("."))
    await create_topics(kafka_bootstrap, settings.topics)
    async with (
        connect(redis_url, settings.keys) as redis,
        Producer(kafka_bootstrap, prefix=settings.namespace) as producer,
    ):
        tables = RedisTables(redis, settings.keys)
        ingest = Ingest(settings, REGISTRY, tables, now_ms)

        async def has(sequence: int) -> bool:
            rows = (await tables.read()).statements
            return [row.event.sequence for row in rows] == [sequence]

        await ingest.start()
        try:
            assert await ingest.ready(60)
            await producer.send(statement(1, "operational"))
            await until(lambda: has(1), what="the first statement")
            keys = [key async for key in redis.scan_iter(match=f"{{{settings.namespace}}}*")]
            copy = {key: await redis.dump(key) for key in keys}
            run = (await tables.read()).run
            await producer.send(statement(2, "down"))
            await until(lambda: has(2), what="the second statement")
            began_ms = now_ms()

            async def progressed() -> bool:
                rows = (await tables.read()).progress
                return bool(rows) and all(row.at_ms > began_ms for row in rows)

            await until(progressed, what="progress after the second statement")
            async with redis.pipeline(transaction=True) as pipe:
                pipe.delete(*[key async for key in redis.scan_iter(match=f"{{{settings.namespace}}}*")])
                for key, dump in copy.items():
                    pipe.restore(key, 0, dump or b"")
                await pipe.execute()

            async def rebuilt() -> bool:
                contents = await tables.read()
                return contents.run not in (None, run) and await has(2)

            await until(rebuilt, what="the second statement after the restore")
        finally:
            await ingest.stop()
