"""The clients of `command`: so many processes, each with one client that reports to Kafka once a second."""

import asyncio
import os
import signal
import sys

from tieline import AsyncClient

ROUTES = (("chat", "us"), ("chat", "eu"), ("api", "us"), ("batch", "us"))


async def _follow(redis_url: str, kafka: str, number: int) -> None:
    workload, origin = ROUTES[number % len(ROUTES)]
    async with AsyncClient(
        redis_url, kafka=kafka, workload=workload, origin=origin, client_id=f"client-{number}"
    ):
        await asyncio.Event().wait()


def main(redis_url: str, kafka: str, count: int) -> None:
    """Forks the processes, so that the library is imported once, and ends with them."""
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            asyncio.run(_follow(redis_url, kafka, number))
            os._exit(0)
        children.append(child)

    def end(*_: object) -> None:
        for process in children:
            os.kill(process, signal.SIGKILL)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
