"""Pools as a client's requests meet them: each attempt is answered as the pool's nature is in that second.

The wire stands in the place of the client's connections, below everything that decides. ``PoolTruth`` is the
same truth as that of the flow (``lab.sim.fleet``): a pool that fails a third of the load fails a third of the
attempts, and one that is asked for more than it can serve answers 429.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from controller.core.policy.policy import Pool
from lab.sim.fleet import Outcome, PoolNature
from tieline._fake_pools import FakeAsyncWire, Fault, Request, Script, script_for

NETWORK_MS = (5.0, 25.0)
SLOW_MS = 1_000.0
STATUS_OF = {"server_error": 503, "auth": 401, "not_found": 404}
HOLDER = "resp_"  # what the id of a stored answer begins with; the number of its endpoint follows
RETRY_AFTER_S = (None, 0.5, 2.0)
BASE = "/v1"  # what every pool's base URL ends with
Result: TypeAlias = Literal["ok", "throttled", "failed", "hung"]


class AttemptLog(Protocol):
    """Is told of each attempt of a request: when it leaves, and how it ended."""

    def leaves(self, request: str, pool: str) -> None:
        """The request of this id is sent to the pool."""
        ...

    def ended(self, request: str, pool: str, result: Result) -> None:
        """The pool has answered it, or its client waits no longer (``hung``)."""
        ...


class PoolTruth:
    """What pools are like in this second. ``ill_s``: by pool, the last second in which something was wrong
    with it. ``ever_cut_off``: clients whose own network is broken, or was at any time before. ``numbers``: of
    the endpoint of each pool, in the names of what is held there."""

    def __init__(self, seed: str, pools: Iterable[Pool]) -> None:
        self.ill_s: dict[str, int] = {}
        self.ever_cut_off: set[str] = set()
        endpoints: dict[str, int] = {}
        self.numbers = {pool.id: endpoints.setdefault(pool.url, len(endpoints)) for pool in pools}
        self._cut_off: frozenset[str] = frozenset()
        self._chance = Random(f"{seed} attempts")
        self._natures: Mapping[str, PoolNature] = {}
        self._refused: dict[str, float] = {}
        self._answers = itertools.count(1)

    def turn(
        self, second: int, natures: Mapping[str, PoolNature], outcome: Outcome, cut_off: frozenset[str]
    ) -> None:
        """A new second, and what came of the load in it."""
        self._natures, self._cut_off = natures, cut_off
        self.ever_cut_off |= cut_off
        sent: dict[str, float] = {}
        refused: dict[str, float] = {}
        for (_, pool), traffic in outcome.traffic.items():
            sent[pool] = sent.get(pool, 0.0) + traffic.sent
            refused[pool] = refused.get(pool, 0.0) + traffic.throttled
        for pool, nature in natures.items():
            share = refused[pool] / sent[pool] if sent.get(pool) else 0.0
            self._refused[pool] = max(nature.throttles, share)
            if nature.errors or nature.hangs or self._refused[pool] or nature.first_token_ms > SLOW_MS:
                self.ill_s[pool] = second

    def first_output_s(self, pool: str) -> float:
        """How long this attempt waits for its first output, the network included."""
        return (self._chance.uniform(*NETWORK_MS) + self._natures[pool].first_token_ms) / 1_000

    def script(self, client: str, pool: str, path: str, body: bytes) -> Script:
        """What comes back of one attempt of this client."""
        fault = Fault("refuse") if client in self._cut_off else self._fault(pool)
        if fault is None and path == "/responses":
            return self._stored(pool)
        return script_for(Request(pool, path, headers={}, body=body), fault, lambda _: "two words")

    def _fault(self, pool: str) -> Fault | None:
        nature = self._natures[pool]
        if nature.hangs:
            return Fault("hang")
        if self._chance.random() < self._refused[pool]:
            return Fault("status", status=429, retry_after_s=self._chance.choice(RETRY_AFTER_S))
        if self._chance.random() >= nature.errors:
            return None
        if nature.result in STATUS_OF:
            return Fault("status", status=STATUS_OF[nature.result])
        return Fault("hang" if nature.result == "timeout" else "refuse")

    def _stored(self, pool: str) -> Script:
        """An answer that the pool keeps, under a name that later requests may refer to."""
        name = f"{HOLDER}{self.numbers[pool]}_{next(self._answers)}"
        content = [{"type": "output_text", "text": "two words", "annotations": []}]
        message = {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": content}
        answer = {
            "id": name, "object": "response", "status": "completed", "output": [message],
            "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        }  # fmt: skip
        head = [(b"content-type", b"application/json")]
        return Script(200, head, pieces=iter([msgspec.json.encode(answer)]))


def holder_of(body: Mapping[str, Any]) -> int | None:
    """The number of the endpoint that holds what a request refers to; None if it refers to nothing."""
    name = body.get("previous_response_id", "")
    return int(name.removeprefix(HOLDER).partition("_")[0]) if name else None


class SimPools:
    """The connections of one client, as ``AsyncClient`` asks its source for them."""

    def __init__(self, truth: PoolTruth, client: str, log: AttemptLog) -> None:
        self.truth, self.client, self.log = truth, client, log

    def for_async(self) -> SimWire:
        """Connections of an ``AsyncClient``."""
        return SimWire(self)


class SimWire(FakeAsyncWire):
    """The connections themselves."""

    def __init__(self, pools: SimPools) -> None:
        super().__init__(lambda *_: Script())
        self._pools = pools

    async def open(
        self, _method: str, url: str, headers: Any, body: Any, *, flight: Any, **_more: float
    ) -> Any:
        """One attempt. Raises what its connection fails with."""
        truth, log, pool = self._pools.truth, self._pools.log, flight.pool
        request = next(value.decode() for name, value in headers if name.lower() == b"x-request-id")
        content = bytes(body)
        log.leaves(request, pool)
        path = url[url.rindex(BASE) + len(BASE) :]
        script = truth.script(self._pools.client, pool, path, content)
        if not script.hangs:
            await asyncio.sleep(truth.first_output_s(pool))
        result: Result = "hung" if script.hangs else "failed"
        try:
            wire = FakeAsyncWire(lambda *_: script)
            answer = await wire.open(_method, url, headers, body, flight=flight)
            if answer.status in (200, 429):
                result = "ok" if answer.status == 200 else "throttled"
        finally:
            log.ended(request, pool, result)
        return answer
