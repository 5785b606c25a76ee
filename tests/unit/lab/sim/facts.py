"""Seconds of a small world for tests of the invariants: two providers, one workload, a table."""

from typing import Any

from lab.sim.contracts import Contracts, RouteContract
from lab.sim.facts import NEVER_S, PoolFacts, TickFacts
from tieline.table import MILLION, Generation, PoolInfo, Route, RouteTable, Split

A, B = "azure/eu/a", "gcp/eu/b"
NAMES = (A, B)


def contracts(**changes: Any) -> Contracts:
    """``chat/eu`` is critical_plus and ``batch/eu`` sheddable; both may use both pools."""
    both = frozenset(NAMES)
    routes = {"chat/eu": RouteContract(0, both, {}), "batch/eu": RouteContract(3, both, {})}
    return Contracts(routes, {}, NAMES, headroom=0.8)._replace(**changes)


def pool(load: float = 0.0, usable: float = 100.0, **changes: Any) -> PoolFacts:
    """A healthy pool that nothing has touched."""
    facts = PoolFacts(
        "healthy", NEVER_S, load, usable=usable, limit=usable / 0.8, clean=True, untried=False, withdrawn_s=-1
    )
    return facts._replace(**changes)


def table(
    chat: dict[str, int], batch: dict[str, int], on_loss: dict[str, dict[str, int]] | None = None
) -> RouteTable:
    """Two routes with these parts by pool; what is missing to a million is shed."""
    routes = (
        Route("chat", "eu", "critical_plus", split=_split(chat), shed_reason="no room",
              on_loss={name: _split(parts) for name, parts in (on_loss or {}).items()}),
        Route("batch", "eu", "sheddable", split=_split(batch), shed_reason="no room"),
    )  # fmt: skip
    infos = tuple(PoolInfo(name, "eu", "https://example.invalid") for name in NAMES)
    return RouteTable(Generation("test", 1, 1), 0, infos, routes=routes)


def second(now: RouteTable, at_s: int = 200, before: RouteTable | None = None, **changes: Any) -> TickFacts:
    """A second in which nothing else happens, long after anything did. Demand is 60 of chat, 60 of batch."""
    facts = TickFacts(
        at_s, now, before, urgent=False, demand={"chat/eu": 60.0, "batch/eu": 60.0},
        pools={A: pool(60), B: pool(60)}, group_usable={}, frozen=frozenset(), shares_lifted=frozenset(),
        calm_s=NEVER_S, silent_s=-1, took_office_s=NEVER_S, lied_s=NEVER_S, clients_heard=True, steady=True,
        noisy=False, panic=False, doubted=frozenset(),
    )  # fmt: skip
    return facts._replace(**changes)


def _split(parts: dict[str, int]) -> Split:
    pools = tuple(NAMES.index(name) for name in parts)
    return Split(pools, tuple(parts.values()), MILLION - sum(parts.values()))
