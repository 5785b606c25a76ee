"""Drills on a cluster: a broker, the primary of Redis or the leading controller is lost in the same moment as
a provider."""

from __future__ import annotations

from typing import Literal, TypeAlias

from controller.process import clock
from lab.demo.continuity import hand_overs
from lab.demo.fleet import NAMESPACE
from lab.demo.rolling import SETTLED_WITHIN_S, is_settled
from lab.demo.run import Run
from lab.demo.scenario import Roles, emptied
from lab.errors import ChildError
from lab.stack.server import Server

Loss: TypeAlias = Literal["broker", "redis", "controller"]
GAP_MAX_S = 15.0
PATIENCE = 3  # with the deadlines of a run, while a server is lost as well
FAULT_WITHIN_S = 60.0
TABLE_WITHIN_S = 60.0


class LoseServer:
    """Kills one server as soon as the provider fails, and starts it again once the table is without it."""

    def __init__(self, loss: Loss, roles: Roles) -> None:
        self._loss = loss
        self._roles = roles
        self.gap_s: float | None = None  # from the kill to the first table without the provider

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        server = await self._server(run)
        await run.wait(lambda: bool(run.faults), FAULT_WITHIN_S, "the fault of the provider")
        run.say("fault", f"{self._loss} lost (SIGKILL)")
        killed_ms = clock.now_ms()
        await (server.kill() if server is not None else run.fleet.kill_controller())
        is_emptied = emptied(self._roles.fails)
        await run.wait(lambda: is_emptied(run.picture, 0), TABLE_WITHIN_S, "a table without the provider")
        self.gap_s = max(0, run.observer.records[-1].published_ms - killed_ms) / 1_000
        run.notes.append(f"{self._loss} lost: the table without the provider came {self.gap_s:.1f} s later")
        for _, first in hand_overs(run.observer.records):
            if first.published_ms > killed_ms:
                after_s = (first.published_ms - killed_ms) / 1_000
                run.notes.append(f"another controller led with the same table {after_s:.1f} s after the loss")
        if self.gap_s > GAP_MAX_S:
            run.failures.append(f"it took {self.gap_s:.1f} s, and at most {GAP_MAX_S:g} s are promised")
        await (server.start() if server is not None else run.fleet.start_controller())

    @staticmethod
    async def until_settled(run: Run) -> None:
        """Returns once nothing is under way that would take part of the time: pools are healthy, and each
        controller has partitions. Raises ChildError."""
        await run.wait(lambda: is_settled(run), SETTLED_WITHIN_S, "two controllers and healthy pools")

    async def _server(self, run: Run) -> Server | None:
        """The one to kill: of Kafka's nodes the one that leads the routes log; None for the controller."""
        stack = run.fleet.cluster_stack
        if self._loss == "controller":
            return None
        if self._loss == "broker":
            return await stack.kafka.leader_of(f"{NAMESPACE}.routes")
        primary = await stack.valkey.primary(NAMESPACE)
        if primary is None:
            raise ChildError("no Valkey is the primary")
        return primary
