"""LiteLLM's Router, measured in the peers' environment: `python _litellm.py MEASUREMENT SETTINGS`.

Prints one line of JSON: case -> unit and samples. It imports nothing of this project: its environment has
nothing of it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
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


def _deployment(name: str, url: str) -> dict[str, Any]:
    parameters = {"model": "openai/big", "api_base": url, "api_key": "none"}
    return {"model_name": name, "litellm_params": parameters}


async def _took_ms(made: Router) -> float | None:
    """How long one request took; None for one that was not answered."""
    began = time.perf_counter()
    try:
        await made.acompletion(model=MODEL, messages=MESSAGES)
    except Exception:  # noqa: BLE001  whatever it is, the request is lost
        return None
    return (time.perf_counter() - began) * 1_000


def _cases(served: str, lost: str, rounds: list[list[float | None]]) -> dict[str, Any]:
    times = [took_ms for each in rounds for took_ms in each if took_ms is not None]
    cases = {lost: {"unit": "requests", "samples": [each.count(None) for each in rounds]}}
    return {served: {"unit": "ms", "samples": times}, **cases} if times else cases


async def burst(dead: str, standby: str, burst: int, rounds: int) -> dict[str, Any]:
    """So many requests at once, with the standby as the fallback of the dead pool."""
    times = []
    for _ in range(rounds):
        made = Router(
            model_list=[_deployment(MODEL, dead), _deployment("standby", standby)],
            fallbacks=[{MODEL: ["standby"]}],
            num_retries=0,
        )
        times.append(await asyncio.gather(*(_took_ms(made) for _ in range(burst))))
    return _cases("served, LiteLLM Router", "lost, LiteLLM Router", times)


async def hang(name: str, urls: list[str], requests: int, at_a_time: int, timeout_s: float) -> dict[str, Any]:
    """Requests one after the other by so many callers, with two retries, each attempt a third of the time."""
    made = Router(
        model_list=[_deployment(MODEL, url) for url in urls],
        num_retries=2,
        timeout=timeout_s / 3,
        routing_strategy="simple-shuffle",
    )
    left = iter(range(requests))
    times: list[float | None] = []

    async def work() -> None:
        for _ in left:
            took_ms = await _took_ms(made)
            times.append(took_ms)

    await asyncio.gather(*(work() for _ in range(at_a_time)))
    return _cases(f"LiteLLM Router, {name}: served", f"LiteLLM Router, {name}: lost", [times])


MEASUREMENTS: dict[str, Callable[..., Any]] = {
    "pick": pick,
    "transport": transport,
    "burst": burst,
    "hang": hang,
}

if __name__ == "__main__":
    told = MEASUREMENTS[sys.argv[1]](**json.loads(sys.argv[2]))
    told = asyncio.run(told) if asyncio.iscoroutine(told) else told
    sys.stdout.write("\n" + json.dumps(told) + "\n")
