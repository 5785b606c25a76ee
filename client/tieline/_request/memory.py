"""PURE. What one process remembers of the answers it has seen: which pool holds what, and how large requests
are.

Responses, files, threads and the like live at the provider that made them. A request that names one goes
back to the pool that answered with it, or to one that shares its endpoint and credential. The latest 10,000
ids are known: of this process's own answers, and those that other processes were asked for
(``SharedHolders``). A request for another id goes by weight.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

IDS_MAX = 10_000
CHARACTERS_PER_TOKEN = 4
COMPLETION_DEFAULT = 256.0
_NEWEST_SHARE = 0.05  # of an average that moves with each answer
_RATIO_MIN, _RATIO_MAX = 0.05, 4.0


class SharedHolders(Protocol):
    """What several processes know together of which pool holds what."""

    async def run(self) -> None:
        """Tells other processes what was learned, until cancelled."""
        ...

    def learned(self, ids: Iterable[str], pool: str) -> None:
        """This process knows since now that the pool holds these. Never waits; called in any thread."""
        ...

    async def look_up(self, ids: Iterable[str]) -> dict[str, str]:
        """Those of the ids that some process knows, with their pools. Takes a few ms at most and never
        raises. Called in the client's event loop."""
        ...


class Holders:
    """Ids of what providers hold, with the pool of each. Not thread-safe: its user has a lock."""

    def __init__(self) -> None:
        self._pools: OrderedDict[str, str] = OrderedDict()

    def learn(self, ids: Iterable[str], pool: str) -> tuple[str, ...]:
        """The pool holds these from now on. Gives those of which that is news."""
        ids = tuple(ids)
        news = tuple(name for name in ids if self._pools.get(name) != pool)
        for name in ids:
            self._pools[name] = pool
            self._pools.move_to_end(name)
        while len(self._pools) > IDS_MAX:
            self._pools.popitem(last=False)
        return news

    def pools_of(self, ids: Iterable[str]) -> dict[str, str]:
        """Those of the ids that are known, with their pools. They are then the last to be forgotten."""
        pools = {name: self._pools[name] for name in ids if name in self._pools}
        for name in pools:
            self._pools.move_to_end(name)
        return pools


class Estimator:
    """How much load a request is, before it is answered. Units are tokens, prompt and answer together.

    It starts from four characters for each token and 256 tokens for each answer, and moves by 5 % of the
    difference with each answer that names its usage. A prompt's ratio counts between 1/20 and 4 times the
    start, so that one odd answer (a file by reference, an image in the body) does not spoil the estimate.
    """

    __slots__ = ("_completion", "_ratio")

    def __init__(self) -> None:
        self._ratio = 1.0
        self._completion = COMPLETION_DEFAULT

    def expect(self, body_bytes: int, output_tokens_max: int | None) -> float:
        """Units that a request will probably take. ``output_tokens_max``: the caller's own limit."""
        completion = self._completion
        if output_tokens_max is not None:
            completion = min(completion, output_tokens_max)
        return self.prompt(body_bytes) + completion

    def prompt(self, body_bytes: int) -> float:
        """Units of the prompt alone."""
        return body_bytes / CHARACTERS_PER_TOKEN * self._ratio

    def learn(self, body_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Take in the usage that one answer named."""
        if body_bytes > 0:
            ratio = min(max(prompt_tokens * CHARACTERS_PER_TOKEN / body_bytes, _RATIO_MIN), _RATIO_MAX)
            self._ratio += _NEWEST_SHARE * (ratio - self._ratio)
        self._completion += _NEWEST_SHARE * (completion_tokens - self._completion)

    def streamed(self, body_bytes: int, usage: tuple[int, int] | None, events: int) -> float:
        """Units that a stream took: as it names its ``usage``, which is learned; else an estimate of the
        prompt, and a token for each event."""
        if usage is None:
            return self.prompt(body_bytes) + events
        self.learn(body_bytes, *usage)
        return float(sum(usage))
