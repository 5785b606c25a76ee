"""Inputs that are made by a seed: tables, and what becomes of requests in pools whose mood changes.

A scenario is made while it is played, since what is done next depends on what came out: an attempt ends only
at the pool to which it was sent.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tieline._routing.slices import ClientTable
from tieline.table import MILLION, Generation, ModelOffer, PoolInfo, Route, Slice, Split
from tools.conformance.plain import Json, plain_of
from tools.conformance.player import Player

MODELS = ("chat-large", "chat-small")
START_MS = 1_000_000
MOODS: dict[str, tuple[str, ...]] = {
    "well": ("ok",),
    "failing": ("server_error",),
    "shaky": ("ok", "server_error", "timeout", "ok", "cut"),
    "full": ("throttled", "throttled", "ok"),
    "gone": ("connect",),
    "slow": ("timeout",),
    "refused": ("auth",),
    "odd": ("ok", "client_error", "not_found"),
}
READINGS: dict[str, list[Any]] = {
    "ok": ["ok", "nobody", False, False, None],
    "server_error": ["server_error", "pool", True, True, None],
    "timeout": ["timeout", "pool", True, True, None],
    "connect": ["connect", "pool", True, True, None],
    "cut": ["cut", "pool", True, True, None],
    "throttled": ["throttled", "pool", True, True, None],
    "auth": ["auth", "account", True, False, None],
    "not_found": ["not_found", "model", True, False, None],
    "client_error": ["client_error", "caller", False, False, None],
    "too_long": ["client_error", "caller", True, False, "context"],
    "conflict": ["client_error", "moment", True, True, None],
    "forbidden": ["auth", "request", True, False, None],
}


def info(pool: str, models: Sequence[ModelOffer] | None = None) -> PoolInfo:
    """A pool that serves both models."""
    offers = models or [ModelOffer(model, f"{pool}:{model}", 8_000, ("tools",)) for model in MODELS]
    host = pool.replace("/", ".").lower()
    return PoolInfo(pool, "eu", f"https://{host}.example.com/v1", credential="key", models=tuple(offers))


def table(
    weights: Mapping[str, int],
    *,
    on_loss: Mapping[str, Mapping[str, int]] | None = None,
    last_resort: Sequence[str] = (),
    infos: Mapping[str, PoolInfo] | None = None,
    seq: int = 1,
) -> ClientTable:
    """A table with one route. What the weights of a split lack of a million is shed."""
    splits = [weights, *(on_loss or {}).values()]
    names = sorted({*last_resort, *(pool for split in splits for pool in split)})
    pools = tuple((infos or {}).get(name) or info(name) for name in names)

    def split(row: Mapping[str, int]) -> Split:
        return Split(tuple(map(names.index, row)), tuple(row.values()), MILLION - sum(row.values()))

    own = split(weights)
    losses = {provider: split(row) for provider, row in (on_loss or {}).items()}
    places = tuple(map(names.index, last_resort))
    reason = "no capacity" if own.shed else ""
    route = Route("chat", "eu", "critical", own, reason, on_loss=losses, last_resort=places)
    return ClientTable(Generation("test", 1, seq), {"eu": Slice(pools, route)})


def any_table(chance: random.Random, seq: int = 1) -> ClientTable:
    """Two to seven pools of up to three providers, some with tiny weights, some shed, some with fallbacks."""
    providers = chance.sample(["azure", "gcp", "oci"], chance.randint(1, 3))
    pools = [f"{chance.choice(providers)}/r{number}/m" for number in range(chance.randint(2, 7))]
    sizes = {pool: chance.choice([1, 3, 50, 400, 1_000]) for pool in pools}
    total = MILLION - chance.choice([0, 0, 0, 30_000, 200_000])
    weights = _scaled(sizes, total)
    losses = {}
    for provider in sorted({pool.split("/")[0] for pool in pools}):
        rest = {pool: size for pool, size in sizes.items() if not pool.startswith(provider + "/")}
        if rest and chance.random() < 0.8:
            losses[provider] = _scaled(rest, chance.choice([MILLION, 700_000]))
    spare = ["coreweave/r9/m", pools[0]] if chance.random() < 0.5 else []
    lacks = chance.choice(pools)
    odd = {lacks: info(lacks, [ModelOffer(MODELS[0], "only", 32_000)])}
    return table(weights, on_loss=losses, last_resort=spare, infos=odd, seq=seq)


def _scaled(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    whole = sum(sizes.values())
    weights = {pool: size * total // whole for pool, size in sizes.items()}
    weights[max(weights, key=lambda pool: weights[pool])] += total - sum(weights.values())
    return weights


class _Maker:
    """Makes the steps of one case and plays them at once."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.table = any_table(self.chance)
        self.case: Json = {
            "name": f"seed {seed}",
            "table": plain_of(self.table),
            "origin": "eu",
            "phase": round(self.chance.random(), 3),
            "chances": [round(self.chance.random(), 3) for _ in range(5)],
            "steps": [],
        }
        self._player = Player(self.case)
        self.now_ms = START_MS
        self.pools = [row.pool for row in self.table.parts["eu"].pools]
        self.moods = dict.fromkeys(self.pools, MOODS["well"])

    def retable(self, made: ClientTable) -> None:
        """Begin anew with another table."""
        self.case["table"], self.case["steps"] = plain_of(made), []
        self._player = Player(self.case)

    def do(self, **step: Any) -> Any:
        """Play the step, and keep it with what it gives."""
        step["at_ms"] = self.now_ms
        gives = self._player.play(step)
        self.case["steps"].append(step | {"gives": gives})
        return gives

    def pass_time(self) -> None:
        """A few milliseconds; now and then long enough for a pool to come back, or for a mood to change."""
        chance = self.chance
        self.now_ms += chance.choice([1, 7, 40, 200, 200, 900, 2_500])
        if chance.random() < 0.05:
            self.now_ms += chance.choice([8_000, 35_000])
        if chance.random() < 0.12:
            self.moods[chance.choice(self.pools)] = MOODS[chance.choice(sorted(MOODS))]

    def result(self, pool: str) -> tuple[str, int | None]:
        """How an attempt there ends in its present mood, with its Retry-After."""
        result = self.chance.choice(self.moods[pool])
        asks = result == "throttled" and self.chance.random() < 0.7
        return result, self.chance.choice([300, 1_500, 6_000]) if asks else None


def scenario(seed: int, steps: int) -> Json:
    """Picks and the ends of what was picked."""
    maker = _Maker(seed)
    chance = maker.chance
    while len(maker.case["steps"]) < steps:
        maker.pass_time()
        if chance.random() < 0.02:
            table_anew = any_table(chance, seq=len(maker.case["steps"]) + 2)
            maker.do(do="table", table=plain_of(table_anew))
            maker.pools = [row.pool for row in table_anew.parts["eu"].pools]
            maker.moods = {pool: maker.moods.get(pool, MOODS["well"]) for pool in maker.pools}
        model = chance.choice(MODELS)
        session = f"session-{chance.randrange(20)}" if chance.random() < 0.3 else None
        exclude = [chance.choice(maker.pools)] if session is None and chance.random() < 0.1 else []
        gives = maker.do(do="pick", model=model, session=session, exclude=exclude)
        if "pool" in gives and chance.random() < 0.85:
            _end(maker, gives["pool"], model)
    return maker.case


def _end(maker: _Maker, pool: str, model: str) -> None:
    result, retry_after_ms = maker.result(pool)
    if result == "ok" and maker.chance.random() < 0.3:
        maker.do(do="alive", pool=pool)
    wait = {"retry_after_ms": retry_after_ms} if retry_after_ms is not None else {}
    for _ in range(maker.chance.choice([1, 1, 2, 4])):
        maker.do(do="ended", pool=pool, model=model, result=result, **wait)


def requests(seed: int, steps: int) -> Json:
    """Requests through the machine of retries, up to six of them at a time."""
    maker = _Maker(seed)
    chance, number = maker.chance, 0
    waiting: dict[int, Json] = {}  # request -> its last action
    while len(maker.case["steps"]) < steps:
        maker.pass_time()
        if len(waiting) < 6 and chance.random() < 0.5:
            number += 1
            more: Json = {"session": f"session-{number % 5}"} if chance.random() < 0.2 else {}
            if chance.random() < 0.1:
                more |= {"bound": True, "seeks": chance.random() < 0.5}
            deadline_ms = chance.choice([700, 4_000, 20_000])
            model = chance.choice(MODELS)
            waiting[number] = maker.do(
                do="begin", request=number, model=model, deadline_ms=deadline_ms, **more
            )
        else:
            for request, action in list(_some(chance, waiting)):
                waiting[request] = _continue(maker, request, action)
        waiting = {request: action for request, action in waiting.items() if _goes_on(action)}
    return maker.case


def _some(chance: random.Random, waiting: Mapping[int, Json]) -> Iterator[tuple[int, Json]]:
    names = sorted(waiting)
    for request in chance.sample(names, min(len(names), 2)):
        yield request, waiting[request]


def _goes_on(action: Json) -> bool:
    return "send" in action or "wait_ms" in action


def _continue(maker: _Maker, request: int, action: Json) -> Json:
    """The next step of a request whose last action this was; ``{}`` when it has ended."""
    if "wait_ms" in action:
        maker.now_ms += action["wait_ms"]
        gives: Json = maker.do(do="resume", request=request)
        return gives
    result, retry_after_ms = maker.result(action["send"]["pool"])
    if result == "ok":
        maker.do(do="served", request=request)
        return {}
    if result == "client_error":
        result = maker.chance.choice(["client_error", "too_long", "conflict", "forbidden"])
    more: Json = {"retry_after_ms": retry_after_ms} if retry_after_ms is not None else {}
    if result == "timeout" and maker.chance.random() < 0.3:
        more["called_back"] = True
    ended: Json = maker.do(do="failed", request=request, reading=READINGS[result], **more)
    return ended


def crowd(result: str, count: int) -> Json:
    """So many requests at once, all of which one pool fails with this result while another has room: first
    the retry budget pays, then each waits for its turn at the other pool."""
    maker = _Maker(7)
    maker.case["name"] = f"{count} requests at once, {result}"
    pools = {"azure/r0/m": 999_000, "gcp/r1/m": 1_000}
    maker.retable(table(pools, on_loss={"azure": {"gcp/r1/m": MILLION}}))
    actions = {
        number: maker.do(do="begin", request=number, model=MODELS[0], deadline_ms=9_000)
        for number in range(count)
    }
    while actions:
        maker.now_ms += 15
        for number, action in sorted(actions.items()):
            actions[number] = _crowded(maker, number, action, result)
        actions = {number: action for number, action in actions.items() if _goes_on(action)}
    return maker.case


def _crowded(maker: _Maker, request: int, action: Json, result: str) -> Json:
    if "wait_ms" in action:
        if action["wait_ms"] > 15:
            return {"wait_ms": action["wait_ms"] - 15}
        gives: Json = maker.do(do="resume", request=request)
        return gives
    if action["send"]["pool"].startswith("gcp/") or request % 9 == 0:
        maker.do(do="served", request=request)
        return {}
    ended: Json = maker.do(do="failed", request=request, reading=READINGS[result])
    return ended
