"""What one pick costs: `script/bench pick`.

Each sample is one single pick between two readings of `perf_counter_ns`; the clock's own cost (some 50 ns)
stays in, nothing is subtracted, so that p99 is that of picks and not of averages.
Everything a user's call does is inside: the argument check, the walk, the weight and shed decision, the count
for the report, and the Route, which is compiled once per pool and handed out again. In every case one pool is
out and another is sent less because it turned requests away, so both checks are in the choice; 5 % is shed.

`affinity` gives each pick another of 1,024 sessions. `compile` is what a table swap or an ejection costs
once, `compile affinity` what changed weights cost when sessions are used. The garbage collector runs.

`LiteLLM Router` is its `get_available_deployment` among as many deployments, in a process of its own.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bench._frame import Case, run
from bench._peers import litellm
from tieline._routing.affinity import compile_slots
from tieline._routing.router import Router
from tieline._routing.slices import ClientTable
from tieline.events import ResultClass
from tieline.table import Generation, ModelOffer, PoolInfo, Route, Slice, Split

POOLS = (4, 40, 400)
PICKS = 100_000
LITELLM_PICKS = 1_000
SESSIONS = [f"conversation-{number}" for number in range(1_024)]
MODEL = "chat-large"


def _slice(count: int) -> Slice:
    """A route over ``count`` pools with weights from 1 ppm upwards and a share to shed."""
    pools = tuple(
        PoolInfo(
            f"p{number % 4}/r{number}/d", "eu", "https://example.invalid/v1", models=(ModelOffer(MODEL, "m"),)
        )
        for number in range(count)
    )
    raw = [1 + number * number for number in range(count)]
    weights = [max(1, weight * 900_000 // sum(raw)) for weight in raw]
    weights[-1] += 950_000 - sum(weights)
    route = Route("chat", "eu", "critical", Split(tuple(range(count)), tuple(weights), 50_000), "capacity")
    return Slice(pools, route)


def _router(count: int) -> Router:
    now_ms = [1_000_000]
    router = Router("chat", "eu", clock=lambda: now_ms[0], phase=0.25)
    router.apply(ClientTable(Generation("bench", 1, 1), {"eu": _slice(count)}))
    for _ in range(5):
        router.record("p1/r1/d", MODEL, ResultClass.SERVER_ERROR)
    for _ in range(10):
        router.record("p2/r2/d", MODEL, ResultClass.THROTTLED, retry_after_ms=1)
    now_ms[0] += 2
    router.tick(now_ms[0])
    kept_back = {row["pool"]: row["kept_back"] for row in router.explain()}
    if set(router.outs()) != {"p1/r1/d"} or not kept_back["p2/r2/d"]:
        raise RuntimeError("the pools that should be out and kept back are not")
    return router


def _plain(router: Router) -> list[float]:
    pick, now_ns = router.pick, time.perf_counter_ns
    samples = []
    for _ in range(PICKS):
        began = now_ns()
        pick(MODEL)
        samples.append((now_ns() - began) / 1_000)
    return samples


def _affinity(router: Router) -> list[float]:
    pick, now_ns = router.pick, time.perf_counter_ns
    samples = []
    for number in range(PICKS):
        session = SESSIONS[number % len(SESSIONS)]
        began = now_ns()
        pick(MODEL, session=session)
        samples.append((now_ns() - began) / 1_000)
    return samples


def _compile(router: Router, count: int) -> list[float]:
    samples = []
    for seq in range(2, 102):
        held = ClientTable(Generation("bench", 1, seq), {"eu": _slice(count)})
        began = time.perf_counter_ns()
        router.apply(held)
        router.pick(MODEL)
        samples.append((time.perf_counter_ns() - began) / 1_000)
    return samples


def _compile_affinity(count: int) -> list[float]:
    part, samples = _slice(count), []
    weights = [(part.pools[i].pool, part.route.split.weights[i]) for i in range(count)]
    for _ in range(20):
        began = time.perf_counter_ns()
        compile_slots(weights)
        samples.append((time.perf_counter_ns() - began) / 1_000)
    return samples


def measure() -> Iterator[Case]:
    """Plain picks, sessions, and the first pick after a swap, over 4, 40 and 400 pools."""
    kinds: Sequence[tuple[str, Callable[[Router], list[float]], dict[str, float]]] = (
        ("", _plain, {"p50": 1.0, "p99": 3.0}),
        (" affinity", _affinity, {"p50": 1.5, "p99": 4.0}),
    )
    for name, sample, target in kinds:
        for count in POOLS:
            router = _router(count)
            router.pick(MODEL, session="first")  # compiles; its cost is a case of its own below
            yield Case(f"{count} pools{name}", "us", sample(router), target)
    for count in POOLS:
        yield Case(f"{count} pools compile affinity", "us", _compile_affinity(count))
        yield Case(f"{count} pools compile", "us", _compile(_router(count), count))
    yield from litellm("pick", pools=list(POOLS), picks=LITELLM_PICKS)


if __name__ == "__main__":
    sys.exit(run("pick", measure))
