"""What a fault is, and the scene on which it does its work: proofs, measures and waiting."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from redis.asyncio import Redis

from controller.process.clock import now_ms, stopwatch_s
from controller.process.errors import UserError
from lab.chaos.facts import Publication, generation_of
from lab.chaos.recorder import Recorder
from lab.chaos.world import NAMESPACE, World
from tieline.events import Command
from tieline.keys import Keys
from tieline.producer import Producer, ProducerError
from tieline.table import Generation

LOOK_EVERY_S = 0.05
LOOKS_MAX = 100
ORDER_LASTS_MS = 20_000
ORDER_TAKEN_WITHIN_S = 15.0
COMMAND_WITHIN_S = 60.0


class ChaosError(UserError):
    """A fault could not be put in force, or what must follow it did not come."""


class Promise(NamedTuple):
    """``what`` is measured and may be at most this much. The unit is ``s`` unless it says otherwise."""

    what: str
    at_most: float
    unit: str = "s"

    def __str__(self) -> str:
        return f"{self.what} <= {self.at_most:g} {self.unit}".rstrip()


class ChaosFault(NamedTuple):
    """One fault. ``does``: what is done, in words for a reader. ``act``: does it, proves it, takes it back.

    ``promises``: beside those that hold under every fault. ``calm_within_s``: how long it may take afterwards
    until everything is as before. ``redis_may_go_back``: the fault itself takes Redis back. ``clocks``: it
    needs the shim of clocks. ``brokers``: how many of them its world has.
    """

    name: str
    does: str
    act: Callable[[Scene], Awaitable[None]]
    promises: tuple[Promise, ...] = ()
    calm_within_s: float = 60.0
    redis_may_go_back: bool = False
    clocks: bool = False
    brokers: int = 1


class Pausable(Protocol):
    """A process that can be stopped for a while."""

    @property
    def pid(self) -> int: ...

    def pause(self) -> None: ...


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    text: str


class Scene:
    """What one fault works on. ``patience`` multiplies all waiting, for machines that are slow or busy."""

    def __init__(self, world: World, patience: float) -> None:
        self.world = world
        self.patience = patience
        self.proofs: list[str] = []
        self.measures: dict[str, float] = {}
        self.began_ms = now_ms()
        self.log_marks = {name: len(log.read()) for name, log in world.logs.items()}
        self.first_publication = self.first_at_start = len(world.recorder.publications)

    @property
    def recorder(self) -> Recorder:
        """What sees everything."""
        return self.world.recorder

    def prove(self, text: str) -> None:
        """Notes what shows from outside that the fault is in force."""
        self.proofs.append(text)

    def measure(self, what: str, value: float) -> None:
        """Notes a value for the promise of this name; of several the largest counts."""
        self.measures[what] = max(value, self.measures.get(what, value))

    async def until(self, condition: Callable[[], Any], within_s: float, what: str) -> float:
        """Returns after how many seconds the condition was true. Raises ChaosError if it was not in time."""
        began_s = stopwatch_s()
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            passed_s = stopwatch_s() - began_s
            if value:
                return passed_s
            if passed_s > within_s * self.patience:
                raise ChaosError(f"{what} did not come within {within_s * self.patience:g} s")
            await asyncio.sleep(LOOK_EVERY_S)

    async def last(self, seconds: float) -> None:
        """Lets the fault last for so long."""
        await asyncio.sleep(seconds)

    def new_publications(self) -> list[Publication]:
        """What was appended to the routes log since the fault began."""
        return self.recorder.publications[self.first_publication :]

    async def until_table(
        self, condition: Callable[[Publication], bool], within_s: float, what: str
    ) -> float:
        """Until a table that counts fulfils the condition."""
        return await self.until(
            lambda: any(
                item.counts and item.generation and condition(item) for item in self.new_publications()
            ),
            within_s,
            what,
        )

    async def until_next_epoch(self, within_s: float) -> float:
        """Until the first table of a higher epoch than that in force when the fault began."""
        epoch = self.epoch_before()
        return await self.until_table(
            lambda item: item.epoch > epoch, within_s, f"a table of a higher epoch than {epoch}"
        )

    def epoch_before(self) -> int:
        """The epoch that was in force when the fault began."""
        earlier = self.recorder.publications[: self.first_publication]
        return max((item.epoch for item in earlier if item.history == earlier[-1].history), default=-1)

    def leader(self) -> str:
        """The controller that leads. Raises ChaosError if none does."""
        if (name := self.world.leader()) is None:
            raise ChaosError("no controller leads")
        return name

    async def order(self) -> Command:
        """Gives an operator's order, past all links. It moves nothing, and ends soon.

        Raises ChaosError if Kafka, which may just have come back, takes none for long.
        """
        taken: list[Command] = []

        async def takes_one() -> bool:
            command = harmless_order()
            try:
                async with Producer(self.world.bootstrap, prefix=NAMESPACE) as producer:
                    await producer.send(command)
            except ProducerError:
                return False
            taken.append(command)
            return True

        await self.until(takes_one, ORDER_TAKEN_WITHIN_S, "Kafka's receipt of an order")
        return taken[0]

    async def order_takes(self, within_s: float) -> float:
        """Gives an order, and returns after how many seconds a table that counts answers it."""
        began_s = stopwatch_s()
        command = await self.order()
        await self.until_table(
            lambda item: item.record is not None and item.record.answer_to(command.id) is not None,
            within_s,
            "the publication that answers an order",
        )
        return stopwatch_s() - began_s

    async def until_clients_have(self, generation: Generation, within_s: float) -> float:
        """Until every client of every caller uses this generation of its lineage or a newer one."""
        return await self.until(
            lambda: all(
                not generation.newer_than(own) and own.lineage == generation.lineage
                for own in self.held_by_clients()
            ),
            within_s,
            f"the table {generation} at every client",
        )

    def held_by_clients(self) -> list[Generation]:
        """What each client of a running caller says that it uses."""
        return [
            generation_of(status.generation)
            for life, caller in self.world.callers.items()
            if caller.running
            for status in self.recorder.lives[life].newest_status.values()
            if status.generation
        ]

    def states_of_clients(self) -> set[str]:
        """The states of the clients of running callers."""
        return {
            status.state
            for life, caller in self.world.callers.items()
            if caller.running
            for status in self.recorder.lives[life].newest_status.values()
        }

    def answered_since(self, at_ms: int) -> int:
        """Requests that ended well since then."""
        return sum(life.answered_since(at_ms) for life in self.recorder.lives.values())

    def redis(self) -> Redis:
        """A connection to Redis past all links; the caller closes it."""
        return Redis.from_url(self.world.valkey.url, socket_timeout=5.0, socket_connect_timeout=5.0)

    @property
    def keys(self) -> Keys:
        """The keys of the run."""
        return Keys(NAMESPACE)

    async def tieline(self, *arguments: str) -> Ended:
        """Runs a command of ``tieline`` past all links. Raises ChaosError if it takes too long."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.cli", *arguments),
            env={**os.environ, "XDG_CONFIG_HOME": "/nowhere", **self.world.direct_settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(COMMAND_WITHIN_S * self.patience):
                text, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ChaosError(f"tieline {arguments[0]} took too long") from None
        return Ended(process.returncode or 0, text.decode("utf-8", "replace"))


def harmless_order() -> Command:
    """A freeze for some seconds, which holds nothing up that a fault asks for."""
    at_ms = now_ms()
    return Command(
        id=uuid4().hex,
        verb="freeze",
        scope="gcp",
        actor="chaos",
        reason="does the controller publish?",
        issued_ms=at_ms,
        expires_ms=at_ms + ORDER_LASTS_MS,
    )


async def paused(child: Pausable) -> str:
    """Stops a process (SIGSTOP), and returns what the kernel says of it once it stands still."""
    child.pause()
    for _ in range(LOOKS_MAX):
        if (state := process_state(child.pid)) != "running":
            break
        await asyncio.sleep(LOOK_EVERY_S)
    return state


def process_state(pid: int) -> str:
    """What the kernel says of a process: ``running``, ``stopped`` or ``gone``."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
    return {"T": "stopped", "t": "stopped", "Z": "gone", "X": "gone"}.get(letter, "running")
