"""An ingesting process of its own, to be killed: `python ingest_child.py BOOTSTRAP REDIS_URL NAMESPACE`.

Says `ready` once it owns partitions, and runs until it is killed or its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys

from streams.app import Ingest, IngestSettings
from streams.tables import RedisTables
from tests.integration.ingesting import REGISTRY, now_ms
from tieline.redis_client import connect


async def main(bootstrap: str, redis_url: str, namespace: str) -> None:
    """Ingests until told to stop."""
    settings = IngestSettings(bootstrap, namespace)
    redis = connect(redis_url, settings.keys)
    ingest = Ingest(settings, REGISTRY, RedisTables(redis, settings.keys), now_ms)
    await ingest.start()
    try:
        if await ingest.ready(60):
            print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await ingest.stop()
        await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
