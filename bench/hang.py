"""What pools that hang cost: `script/bench hang`.

Four pools of equal weight, `AT_A_TIME` callers, each with a time-out of `TIMEOUT_S` for each of its requests.
All pools answer after 0.1 s for the first `WARM_UP` requests, then `REQUESTS` follow:

- `2 of 4 hang`: two of the four pools answer nothing any more.
- `1 of 4 half hangs`: one of the four pools answers only every second request.

`served` is how long each request took that was answered, `lost` how many were not in time, `asked of ill
pools` how many requests reached a pool that hangs.

LiteLLM's Router gets the same requests with two retries, as many attempts as Tieline makes, and for each
attempt a third of the caller's time.
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

CASES = (
    ("2 of 4 hang", ("hung", "hung", "slow", "slow")),
    ("1 of 4 half hangs", ("half", "slow", "slow", "slow")),
)
WARM_UP = 200
REQUESTS = 600
AT_A_TIME = 20
TIMEOUT_S = 6.0
ILL = ("hung", "half")


async def _ask_all(llm: AsyncOpenAI, count: int) -> list[float | None]:
    """How many ms each request took; None for one that was not answered in time."""
    left = iter(range(count))
    times: list[float | None] = []

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            try:
                await llm.chat.completions.create(**ASK)
            except openai.APIError:
                times.append(None)
            else:
                times.append((time.perf_counter() - began) * 1_000)

    await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    return times


async def _measured(path: Path, pools: Pools) -> list[float | None]:
    async with tieline.offline(path, **PLACE) as client:
        if not await client.ready(5):
            raise RuntimeError(f"no table: {client.status.error}")
        async with AsyncOpenAI(
            api_key="none",
            base_url=client.base_url,
            http_client=client.http_client(),
            max_retries=0,
            timeout=TIMEOUT_S,
        ) as llm:
            await _ask_all(llm, WARM_UP)
            pools.fall_ill()
            return await _ask_all(llm, REQUESTS)


def measure() -> Iterator[Case]:
    """Each case with Tieline, then with LiteLLM against the same pools."""
    for name, behaviours in CASES:
        with running(*behaviours) as pools, tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "routes.bin"
            write_table(path, pools.urls)
            times = asyncio.run(_measured(path, pools))
            yield Case(f"{name}: served", "ms", [took_ms for took_ms in times if took_ms is not None])
            yield Case(f"{name}: lost", "requests", [times.count(None)], {"p50": 0.0})
            yield _asked(name, behaviours, pools)
            settings = {"requests": REQUESTS, "at_a_time": AT_A_TIME, "timeout_s": TIMEOUT_S}
            yield from litellm("hang", name=name, urls=pools.urls, **settings)
            yield _asked(f"LiteLLM Router, {name}", behaviours, pools)


def _asked(name: str, behaviours: tuple[str, ...], pools: Pools) -> Case:
    counts = zip(behaviours, pools.counts(), strict=True)
    count = sum(count for behaviour, count in counts if behaviour in ILL)
    return Case(f"{name}: asked of ill", "requests", [count])


if __name__ == "__main__":
    sys.exit(run("hang", measure))
