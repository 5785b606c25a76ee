"""LiteLLM's Router, measured in the peers' environment: `python _litellm.py pick|transport SETTINGS`.

Prints one line of JSON: case -> unit and samples. It imports nothing of this project: its environment has
nothing of it.
"""

import asyncio
import json
import sys
import time
from typing import Any

import litellm
from litellm import Router
from openai import AsyncOpenAI

MODEL = "chat-large"
MESSAGES = [{"role": "user", "content": "Where does it flow?"}]
litellm.suppress_debug_info = True
litellm.telemetry = False


def router(count: int, url: str) -> Router:
    """As many deployments of one model, with weights that differ."""
    deployments = [
        {
            "model_name": MODEL,
            "litellm_params": {
                "model": "openai/big",
                "api_base": url,
                "api_key": "none",
                "weight": 1 + number * number,
            },
        }
        for number in range(count)
    ]
    return Router(model_list=deployments, num_retries=0, routing_strategy="simple-shuffle")


def pick(pools: list[int], picks: int) -> dict[str, Any]:
    """What choosing a deployment takes, in us."""
    found = {}
    for count in pools:
        made, samples = router(count, "http://127.0.0.1:9/v1"), []
        for number in range(-50, picks):
            began = time.perf_counter_ns()
            made.get_available_deployment(model=MODEL, messages=MESSAGES)
            if number >= 0:
                samples.append((time.perf_counter_ns() - began) / 1_000)
        found[f"{count} pools LiteLLM Router"] = {"unit": "us", "samples": samples}
    return found


async def transport(url: str, pools: int, pairs: int, burst: int, at_a_time: int) -> dict[str, Any]:
    """What ``acompletion`` adds to the bare call of the SDK that LiteLLM itself uses, and its throughput."""
    made, added = router(pools, url), []
    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as bare:
        for number in range(-30, pairs):
            began = time.perf_counter_ns()
            await bare.chat.completions.create(model="big", messages=MESSAGES)  # type: ignore[arg-type]
            between = time.perf_counter_ns()
            await made.acompletion(model=MODEL, messages=MESSAGES)
            if number >= 0:
                added.append((time.perf_counter_ns() - between - (between - began)) / 1_000)
    left = iter(range(burst))

    async def work() -> None:
        for _ in left:
            await made.acompletion(model=MODEL, messages=MESSAGES)

    began_s = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_a_time)))
    rate = burst / (time.perf_counter() - began_s)
    return {
        "added async LiteLLM Router": {"unit": "us", "samples": added},
        "LiteLLM Router throughput": {"unit": "requests/s", "samples": [rate]},
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    told = pick(**asked) if sys.argv[1] == "pick" else asyncio.run(transport(**asked))
    sys.stdout.write("\n" + json.dumps(told) + "\n")
