"""For a proxy that sends requests in a client's place: how it is to divide them, and where it says how they
ended.

Most applications need none of this: they send through the client itself. A proxy such as Envoy chooses the
pool of each request by itself, by weights that it was given. ``Proxied`` gives it the weights that the
client's own picks would go by, and takes in outcomes as if the client had seen them:

    async with tieline.AsyncClient("redis://...", workload="chat", origin="eu", kafka="kafka:9092") as client:
        proxied = Proxied(client)
        shares = proxied.shares("chat-large", origin="eu")  # for the proxy, again when they change
        proxied.report("azure/uksouth/gpt", outcome, model="chat-large", origin="eu")
        proxied.count("eu", requests=10, units=9_000.0)

``Estimator`` says how much load a request is whose answer names no usage, as the client estimates it.

So pools are ejected and come back by the client's rules, the table's weights for the loss of a provider apply
when most of it is out, and the client's reports tell the planner of the proxy's load and outcomes.
Tests: tests/unit/client/test_proxying.py; with a real Envoy, tests/integration/test_envoy.py.
"""

from typing import TYPE_CHECKING

from tieline._health.ejection import (
    STRAIGHT_FAILURES,
    TRIAL_FIRST_S,
    TRIAL_LONGEST_S,
    WINDOW_REQUESTS_MIN,
    WINDOW_S,
)
from tieline._request.limits import WHOLE_ANSWER_MS_PER_TOKEN, WHOLE_ANSWER_TOKENS_DEFAULT
from tieline._request.memory import Estimator
from tieline._routing.route import Outcome
from tieline._routing.shares import Share, Shares
from tieline.table import ClientSettings, PoolInfo

if TYPE_CHECKING:
    from tieline._client import AsyncClient

__all__ = [
    "STRAIGHT_FAILURES",
    "TRIAL_FIRST_S",
    "TRIAL_LONGEST_S",
    "WHOLE_ANSWER_MS_PER_TOKEN",
    "WHOLE_ANSWER_TOKENS_DEFAULT",
    "WINDOW_REQUESTS_MIN",
    "WINDOW_S",
    "Estimator",
    "Proxied",
    "Share",
    "Shares",
]


class Proxied:
    """One client as a proxy uses it. All methods may be called from any thread."""

    def __init__(self, client: "AsyncClient") -> None:
        self._core = client.core

    @property
    def settings(self) -> ClientSettings:
        """What the table in force says of attempts and time limits; the defaults without a table."""
        return self._core.settings()

    @property
    def generation(self) -> str:
        """``lineage:epoch:seq`` of the table in force; empty without one."""
        table = self._core.router.table
        return str(table.generation) if table is not None else ""

    def models(self, origin: str) -> tuple[str, ...]:
        """The logical models that any pool of the origin's route offers, sorted; empty without a table."""
        return tuple(sorted({offer.model for info in self.pools(origin) for offer in info.models}))

    def pools(self, origin: str) -> tuple[PoolInfo, ...]:
        """The pools that the origin's route may use, whether they are out or not; none without a table."""
        table = self._core.router.table
        part = table.parts.get(origin) if table is not None else None
        return part.pools if part is not None else ()

    def shares(self, model: str, *, origin: str) -> Shares:
        """How requests of this origin for ``model`` are to be divided now. ``model`` "": those that name
        none. They change with each table, when an emergency overlay begins or ends, and whenever a pool goes
        out or comes back; ask again after each of these, and at least once a second."""
        return self._core.router.shares(model, origin)

    def report(self, pool: str, outcome: Outcome, *, model: str, origin: str) -> bool:
        """Say how one attempt at ``pool`` ended. False: the table in force has no such pool for this origin
        and model, so nobody is told."""
        return self._core.router.hear(pool, outcome, model=model, origin=origin)

    def count(
        self, origin: str, *, requests: int, units: float, shed: int = 0, shed_units: float = 0.0
    ) -> None:
        """Say that the proxy was asked for so many requests of this origin, ``units`` of load together, and
        has turned ``shed`` of them away."""
        self._core.router.count(origin, requests, shed=shed)
        self._core.window.offered(origin, units)
        if shed_units:
            self._core.window.shed(origin, shed_units)
