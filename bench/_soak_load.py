"""The application of `script/bench soak`: as many requests as the machine holds, and what that costs this
process, second by second.

`python -m bench._soak_load TABLE WARM_UP_S SECONDS`, prints one line of JSON at its end. What happens in the
first WARM_UP_S is not told.
"""

import asyncio
import gc
import itertools
import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tieline

WORKERS = 24
MODEL = "chat-large"
SESSIONS = 200
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


class Reports:
    """Takes reports as Kafka would, and keeps none."""

    def post(self, event: object) -> bool:
        return event is not None


async def _work(http: Any, numbers: Iterator[int], results: Counter[str], until_s: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        number = next(numbers)
        messages = [{"role": "user", "content": f"Where does it flow, {number}?"}]
        body = {"model": MODEL, "messages": messages, "max_tokens": 16, "stream": number % 2 == 0}
        headers = {"x-tieline-session": f"s{number % SESSIONS}"} if number % 3 == 0 else {}
        try:
            answer = await http.post("/chat/completions", json=body, headers=headers)
            results[str(answer.status_code)] += 1
        except Exception as error:  # noqa: BLE001  whatever it is, it is counted
            results[type(error).__name__] += 1


def _sample(done: int) -> dict[str, float]:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory_kib": resident * PAGE_KIB,
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  a Path each would be garbage too
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
        "requests": done,
    }


async def main(path: str, warm_up_s: float, seconds: float) -> dict[str, Any]:
    """Samples, and how requests ended."""
    results: Counter[str] = Counter()
    samples = {name: array("d") for name in _sample(0)}  # a dictionary a second would be growth of our own
    client = tieline.offline(path, workload="chat", origin="eu", kafka=Reports())
    async with client, client.http_client(base_url=client.base_url, timeout=30) as http:
        if not await client.ready(5):
            raise RuntimeError(f"no table: {client.status.error}")
        loop = asyncio.get_running_loop()
        from_s = loop.time() + warm_up_s
        until_s = from_s + seconds
        numbers = itertools.count()
        workers = [asyncio.create_task(_work(http, numbers, results, until_s)) for _ in range(WORKERS)]
        while loop.time() + 1 < until_s:
            await asyncio.sleep(1)
            gc.collect()
            if loop.time() < from_s:
                results.clear()
            else:
                for name, value in _sample(results.total()).items():
                    samples[name].append(value)
        await asyncio.gather(*workers)
    return {"samples": {name: list(values) for name, values in samples.items()}, "results": dict(results)}


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))) + "\n"
    )
