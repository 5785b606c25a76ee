"""How a burst moves off a dead pool: `script/bench burst`.

`BURST` requests at once, in `ROUNDS` rounds, each with a new client. The pool that has nearly all weight
refuses everything with a 503, the other one is idle and answers after 0.1 s, as a model would. `served` is
how long each request took that was answered, `lost` how many of a round were not, and `asked of the dead
pool` how many requests of a round reached it: none may come twice.

LiteLLM's Router gets the same requests in the way that its manual recommends for a standby: the idle pool is
the fallback of the dead one.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import openai
from openai import AsyncOpenAI

import tieline
from bench._frame import Case, run
from bench._peers import litellm
from bench._pools import ASK, PLACE, Pools, running, write_table

BURST = 300
ROUNDS = 5
WEIGHTS = (999_999, 1)
SERVED_P50_MS = 2_000.0


async def _burst(path: Path) -> list[float | None]:
    """How many ms each request took; None for one that was not answered."""
    async with tieline.offline(path, **PLACE) as client:
        if not await client.ready(5):
            raise RuntimeError(f"no table: {client.status.error}")
        http = client.http_client()
        llm = AsyncOpenAI(api_key="none", base_url=client.base_url, http_client=http, max_retries=0)

        async def ask() -> float | None:
            began = time.perf_counter()
            try:
                await llm.chat.completions.create(**ASK)
            except openai.APIError:
                return None
            return (time.perf_counter() - began) * 1_000

        async with llm:
            return await asyncio.gather(*(ask() for _ in range(BURST)))


def _rounds(path: Path, pools: Pools) -> list[Case]:
    served: list[float] = []
    lost, asked = [], []
    for _ in range(ROUNDS):
        times = asyncio.run(_burst(path))
        served += [took_ms for took_ms in times if took_ms is not None]
        lost.append(times.count(None))
        asked.append(pools.counts()[0])
    return [
        Case("served", "ms", served, {"p50": SERVED_P50_MS}),
        Case("lost", "requests", lost, {"p99": 0.0}),
        Case("asked of the dead pool", "requests", asked, {"p99": float(BURST)}),
    ]


def measure() -> Iterator[Case]:
    """Tieline's rounds, then LiteLLM's against the same pools."""
    with running("dead", "slow") as pools, tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "routes.bin"
        write_table(path, pools.urls, WEIGHTS)
        pools.fall_ill()
        yield from _rounds(path, pools)
        yield from litellm("burst", dead=pools.urls[0], standby=pools.urls[1], burst=BURST, rounds=ROUNDS)
        yield Case("asked of the dead pool, LiteLLM Router", "requests", [pools.counts()[0] / ROUNDS])


if __name__ == "__main__":
    sys.exit(run("burst", measure))
