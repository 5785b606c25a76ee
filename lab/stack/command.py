"""`tieline stack`: the embedded Kafka and Valkey until SIGTERM or ^C, for a first try."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from controller.process.supervise import end_on_signals
from lab.errors import ChildError, StackError
from lab.stack.stack import BROKERS, ClusterStack, Stack
from tieline.redis_address import CLUSTER, SENTINEL

LOOK_EVERY_S = 0.5


def add_parser(subparsers: Any) -> None:
    """Describes the command to the `tieline` parser."""
    parser = subparsers.add_parser(
        "stack",
        help="run a real Kafka and Valkey here, for a first try",
        description="Runs Apache Kafka and Valkey on 127.0.0.1 and prints the settings for other commands.",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        help="keep Kafka's data here for the next start (default: temporary data, removed at the end)",
    )
    parser.add_argument(
        "--cluster",
        choices=(SENTINEL, CLUSTER),
        help="run servers that outlive the loss of one: three brokers, and Valkey either as primary and "
        "replica with three Sentinels, or as a cluster of six nodes",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the stack; the settings for other commands go to standard output. Returns the exit status."""
    try:
        return asyncio.run(_serve(args.directory, args.cluster))
    except (ChildError, StackError) as error:
        _say(f"tieline stack: {error}")
        return 1


async def _serve(directory: Path | None, cluster: str | None) -> int:
    ending = asyncio.create_task(end_on_signals().wait())
    starting = asyncio.create_task(_started(directory, cluster))
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return 0
    async with await starting as stack:
        print(f"export TIELINE_KAFKA={stack.kafka_bootstrap}")
        print(f"export TIELINE_REDIS={stack.redis_url}")
        print(f"export TIELINE_REPLICATION={BROKERS if cluster else 1}", flush=True)
        _say(f"Kafka and Valkey are ready (logs: {stack.directory}); ^C ends them")
        return await _until(ending, stack)


async def _started(directory: Path | None, cluster: str | None) -> Stack | ClusterStack:
    if cluster is None:
        return await Stack.start(directory, say=_say)
    return await ClusterStack.start(directory, redis=cluster, say=_say)


async def _until(ending: asyncio.Task[bool], stack: Stack | ClusterStack) -> int:
    """0 once the process was asked to end. Raises ChildError if a server ends by itself."""
    while not ending.done():
        await asyncio.wait({ending}, timeout=LOOK_EVERY_S)
        for server in (stack.kafka, stack.valkey):
            if not server.running:
                raise ChildError(f"{server.name} ended by itself: {server.last_words()}")
    return 0


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
