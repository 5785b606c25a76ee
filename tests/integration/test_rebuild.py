"""`tieline rebuild`: Redis from Kafka alone, without a controller and beside one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.process.clock import now_ms
from controller.process.settings import Settings
from streams.tables import RedisTables
from tests.integration.controllers import Fleet, settings_of, tieline
from tests.integration.ingesting import report
from tests.waiting import until
from tieline.keys import MANIFEST_FIELD
from tieline.overlay import Overlay, sign
from tieline.producer import Producer
from tieline.redis_client import connect


def overlay_for(settings: Settings) -> bytes:
    """A signed overlay that lasts ten minutes."""
    at_ms = now_ms()
    overlay = Overlay("fire", settings.namespace, ("gcp",), issued_ms=at_ms, expires_ms=at_ms + 600_000,
                      actor="kim", reason="a fire")  # fmt: skip
    return sign(overlay, Ed25519PrivateKey.generate())


async def test_redis_comes_back_from_kafka_alone(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Without any controller: the tables, the routes byte for byte, and a lost overlay from its file; beside
    a controller the same. A Redis of another history is left as it is."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    keys = settings.keys
    async with Fleet(settings, tmp_path) as fleet, connect(redis_url, keys) as redis:
        tables = RedisTables(redis, keys)
        controller = await fleet.add()
        await controller.until_said("decides now")
        async with Producer(kafka_bootstrap, source="prober", prefix=settings.namespace) as producer:
            event = report(1, source="prober", region="eastus2", incarnation=producer.incarnation, pools=0)
            await producer.send(event)

        async def has_report() -> bool:
            return len((await tables.read()).reports) == 1

        await until(has_report, what="the report in the tables")
        assert await controller.stop() == 0
        before: dict[Any, Any] = await redis.hgetall(keys.routes)
        await redis.delete(keys.routes, *[keys.table(name) for name in ("run", "health", "capacity")])
        file = tmp_path / "overlay.json"
        file.write_bytes(overlay_for(settings))
        ended = await tieline(settings, "rebuild", "--json", "--overlay", str(file))
        assert ended.status == 0, ended.err
        told = json.loads(ended.out)
        assert (told["outcome"], told["rows"], told["overlay"]) == ("rebuilt", 1, "fire")
        after: dict[Any, Any] = await redis.hgetall(keys.routes)
        parts = [name for name in before if name.startswith(b"slice:")]
        assert parts
        assert all(after[name] == before[name] for name in (*parts, b"lineage", b"epoch", b"seq"))
        assert after[MANIFEST_FIELD.encode()] == before[MANIFEST_FIELD.encode()]
        assert await has_report()
        run = await tables.run()
        again = await fleet.add()
        await again.until_said("decides now")
        assert await tables.run() == run
        ended = await tieline(settings, "rebuild")
        assert ended.status == 0, ended.err
        assert "1 rows of evidence" in ended.out

        async def joined() -> bool:
            contents = await tables.read()
            return contents.run not in (None, run) and len(contents.reports) == 1

        await until(joined, what="a new run of the tables")
        await again.stop()
        await redis.hset(keys.routes, "lineage", "another")
        ended = await tieline(settings, "rebuild")
        assert ended.status == 2
        assert "LINEAGE" in ended.err
        assert await redis.hget(keys.routes, "lineage") == b"another"
        await redis.delete(keys.overlay)
