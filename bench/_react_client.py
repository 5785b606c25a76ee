"""The other process of `react`: a client that prints each table it applies, and by which clock when."""

import asyncio
import sys

from bench._react_world import ORIGIN, WORKLOAD
from tieline import Applied, AsyncClient


def _say(applied: Applied) -> None:
    sys.stdout.write(f"{applied.generation} {int(applied.urgent)} {applied.at_monotonic_ms}\n")
    sys.stdout.flush()


async def main(redis_url: str) -> None:
    """Until killed."""
    async with AsyncClient(redis_url, workload=WORKLOAD, origin=ORIGIN) as client:
        client.on_table(_say)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
