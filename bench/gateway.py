"""What a gateway adds to a call: `script/bench gateway`.

One server in a process of its own answers at once. Callers ask it directly (`bare`), through `tieline
gateway` with two workers, and through LiteLLM's proxy with two workers, in turns: `added` is the median of a
round less that of the bare round before it, of one caller at a time. `throughput` is 32 callers, `streams`
are 200 that begin together, each of 18 events. The soak keeps 32 callers busy for half a minute and looks at
what the workers' memory and descriptors have grown by. All share the machine's cores with each other and the
server.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench._frame import Case, run
from bench._peers import litellm_proxy
from bench._pools import MODEL, Pools, running, write_table
from lab.stack.server import free_ports

TOKEN = "sk-a-token-of-some-length"
WORKERS = 2
POOLS = 8
ROUNDS = 12
ROUND_CALLS = 150
BURST_CALLS = 6_000
PEER_BURST_CALLS = 600
CALLS_AT_A_TIME = 32
STREAMS = 200
SOAK_S = 30
READY_WITHIN_S = 90
STOP_WITHIN_S = 30


def load(port: int, *, requests: int, at_a_time: int, stream: bool = False, **more: Any) -> dict[str, Any]:
    """What callers in a process of their own have measured."""
    settings = {"port": port, "requests": requests, "at_a_time": at_a_time, "stream": stream, **more}
    with tempfile.NamedTemporaryFile() as result:
        words = json.dumps({"model": MODEL, "token": TOKEN, "result": result.name, **settings})
        subprocess.run([sys.executable, "-m", "bench._gateway_load", words], check=True)
        answer: dict[str, Any] = json.load(result)
    if answer["failed"]:
        raise RuntimeError(f"{answer['failed']} of {len(answer['ms'])} requests failed at port {port}")
    return answer


@contextlib.contextmanager
def tieline_gateway(pools: Pools, folder: Path) -> Iterator[tuple[int, int]]:
    """(port, process) of a gateway over a table of the server."""
    write_table(folder / "routes.bin", pools.urls[:1] * POOLS)
    (port,) = free_ports(1)
    settings = {
        "listen": f"127.0.0.1:{port}",
        "tables": str(folder / "routes.bin"),
        "workers": WORKERS,
        "access_log": str(folder / "access.log"),
        "workloads": [{"workload": "chat", "origins": ["eu"]}],
        "tokens": [{"name": "bench", "sha256": sha256(TOKEN.encode()).hexdigest()}],
        "draining": {"notice_s": 0, "within_s": 5},
    }
    (folder / "gateway.yaml").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "controller.cli", "gateway", "--config", str(folder / "gateway.yaml")]
    with served(command, f"http://127.0.0.1:{port}/readyz", folder / "gateway.log") as process:
        yield port, process


@contextlib.contextmanager
def served(command: list[str], ready_url: str, log: Path) -> Iterator[int]:
    """The process of a server, once it says that it is ready."""
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        until_s = time.monotonic() + READY_WITHIN_S
        while not is_ready(ready_url):
            if child.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"the server is not ready: {log.read_text()[-2_000:]}")
            time.sleep(0.1)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def is_ready(url: str) -> bool:
    """Whether the server answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def added_ms(bare: int, port: int) -> list[float]:
    """The median of each round less that of the bare round before it."""
    samples = []
    for _ in range(ROUNDS):
        first, second = (load(each, requests=ROUND_CALLS, at_a_time=1)["ms"] for each in (bare, port))
        samples.append(statistics.median(second) - statistics.median(first))
    return samples


def measured(name: str, bare: int, port: int, burst_calls: int, **targets: bool) -> Iterator[Case]:
    """The cases of one gateway."""
    has_targets = targets.get("has_targets", False)
    load(port, requests=burst_calls // 4, at_a_time=CALLS_AT_A_TIME)
    yield Case(f"{name}, added", "ms", added_ms(bare, port), {"p50": 1.0} if has_targets else {})
    rates = [load(port, requests=burst_calls, at_a_time=CALLS_AT_A_TIME)["per_s"] for _ in range(3)]
    yield Case(
        f"{name}, throughput", "requests/s", rates, {"p50": 1_500.0} if has_targets else {}, at_least=True
    )
    streams = load(port, requests=STREAMS, at_a_time=STREAMS, stream=True)["ms"]
    yield Case(f"{name}, {STREAMS} streams at once", "ms", streams)


def soak(port: int, process: int) -> Iterator[Case]:
    """What the workers have grown by."""
    workers = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    before = [(resident_mib(pid), descriptors(pid)) for pid in workers]
    load(port, requests=10**9, at_a_time=CALLS_AT_A_TIME, seconds=SOAK_S)
    time.sleep(1)
    after = [(resident_mib(pid), descriptors(pid)) for pid in workers]
    grown = [
        (new_mib - old_mib, float(new - old))
        for (old_mib, old), (new_mib, new) in zip(before, after, strict=True)
    ]
    yield Case(f"soak of {SOAK_S} s, memory of a worker grown", "MiB", [mib for mib, _ in grown])
    yield Case(f"soak of {SOAK_S} s, descriptors of a worker more", "count", [count for _, count in grown])


def resident_mib(pid: int) -> float:
    """Of a process."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1_024


def descriptors(pid: int) -> int:
    """Open ones of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure() -> Iterator[Case]:
    """The bare server, the gateway, and LiteLLM's proxy where it can be had."""
    with running("fine") as pools, tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        bare = int(pools.urls[0].split(":")[2].split("/")[0])
        yield Case("bare, one caller", "ms", load(bare, requests=ROUND_CALLS * 4, at_a_time=1)["ms"])
        with tieline_gateway(pools, folder) as (port, process):
            yield from measured("tieline gateway", bare, port, BURST_CALLS, has_targets=True)
            yield from soak(port, process)
        command = litellm_proxy(folder, pools.urls[0], MODEL, TOKEN)
        if command is None:
            return
        (port,) = free_ports(1)
        words = [*command, "--port", str(port), "--num_workers", str(WORKERS)]
        with served(words, f"http://127.0.0.1:{port}/health/liveliness", folder / "litellm.log"):
            yield from measured("LiteLLM proxy", bare, port, PEER_BURST_CALLS)


if __name__ == "__main__":
    sys.exit(run("gateway", measure))
