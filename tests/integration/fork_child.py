"""Run by test_client_fork: a client that forks, in both ways of using it.

``python fork_child.py sync|async|pick TABLE``: makes a request, forks, and lets parent and child make some
more at the same time. Prints one JSON line each: who, the pools, the file descriptors of its connections, the
names under which reports were made, the requests that they tell of.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import tieline

ASK = {"model": "chat-large", "messages": [{"role": "user", "content": "?"}], "max_tokens": 8}
PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
REQUESTS = 5


class Reports:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def post(self, event: Any) -> bool:
        self.kept.append(event)
        return True


def sockets() -> list[str]:
    """The sockets that this process has open, by the system's number."""
    found = []
    for file in Path("/proc/self/fd").iterdir():
        try:
            name = str(file.readlink())
        except OSError:
            continue
        if name.startswith("socket:"):
            found.append(name)
    return sorted(found)


def tell(who: str, pools: list[str], before: list[str], reports: Reports) -> None:
    """One line, written at once."""
    told = {
        "who": who,
        "pools": pools,
        "before": before,
        "sockets": sockets(),
        "clients": sorted({event.client for event in reports.kept}),
        "requests": sum(flow.requests for event in reports.kept for flow in event.flows),
    }
    os.write(1, json.dumps(told).encode() + b"\n")


def synchronous(path: str) -> None:
    """Requests in the caller's thread; parent and child go on with the same client and HTTP client."""
    reports = Reports()
    client = tieline.Client(Path(path), **PLACE, kafka=reports)
    client.start()
    assert client.ready(60)
    with client.http_client(base_url=client.base_url) as http:

        def ask() -> str:
            answer = http.post("/chat/completions", json=ASK)
            return f"{answer.status_code} {answer.headers['x-tieline-pool']}"

        ask()
        client.flush()
        before = sockets()
        reports.kept.clear()
        child = os.fork()
        pools = [ask() for _ in range(REQUESTS)]
        client.flush()
        tell("parent" if child else "child", pools, before, reports)
        client.close()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        ask_again = client.pick("chat-large")
        assert isinstance(ask_again, tieline.Route)


def picking(path: str) -> None:
    """A child that only picks follows its table too: the first pick begins that."""
    reports = Reports()
    with tieline.Client(Path(path), **PLACE, kafka=reports) as client:
        assert client.ready(60)
        before = sockets()
        child = os.fork()
        found = [client.pick("chat-large") for _ in range(REQUESTS)]
        assert client.ready(60), client.status
        client.flush()
        pools = [f"{type(one).__name__}" for one in found]
        tell("parent" if child else "child", pools, before, reports)
        if not child:
            client.close()
            os._exit(0)
        os.waitpid(child, 0)


async def asynchronous(path: str) -> None:
    """The child begins an event loop of its own; its first request starts the client there."""
    reports = Reports()
    async with tieline.AsyncClient(Path(path), **PLACE, kafka=reports) as client:
        assert await client.ready(60)
        http = client.http_client(base_url=client.base_url)

        async def ask() -> str:
            answer = await http.post("/chat/completions", json=ASK)
            return f"{answer.status_code} {answer.headers['x-tieline-pool']}"

        await ask()
        await client.flush()
        before = sockets()
        reports.kept.clear()
        child = os.fork()
        if not child:
            asyncio.events._set_running_loop(None)

            async def in_child() -> None:
                pools = list(await asyncio.gather(*(ask() for _ in range(REQUESTS))))
                await client.flush()
                tell("child", pools, before, reports)
                await client.close()

            asyncio.run(in_child())
            os._exit(0)
        pools = [await ask() for _ in range(REQUESTS)]
        await client.flush()
        tell("parent", pools, before, reports)
        await asyncio.to_thread(os.waitpid, child, 0)
        assert (await ask()).startswith("200")


if __name__ == "__main__":
    if sys.argv[1] == "async":
        asyncio.run(asynchronous(sys.argv[2]))
    else:
        {"sync": synchronous, "pick": picking}[sys.argv[1]](sys.argv[2])
