"""Requests from processes to servers, and the answers: delays, cut links, servers that are down.

A link is one process and one server. What is sent over it arrives in the order in which it was sent, after a
random delay, also when its sender is dead by then. While a link is cut nothing arrives in either direction;
what was on its way arrives after it was healed, as TCP would send it again. A server that is down refuses.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lab.simulated.loop import CURRENT, VirtualLoop

USUAL_MS = (0.2, 1.5)
LONG_S = 60.0
APART_S = 1e-6  # between two arrivals, as timers of one moment run in no order
NOBODY = contextvars.Context()  # what happens in the network belongs to no process


class LinkName(NamedTuple):
    """From whom to which server."""

    process: str
    server: str


@dataclass
class Link:
    """``delay_ms``: between these. ``waiting``: what arrives once it is healed."""

    delay_ms: tuple[float, float] = USUAL_MS
    cut: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    there_s: float = 0.0  # when the last request arrives
    back_s: float = 0.0  # when the last answer arrives


class ServerDownError(ConnectionError):
    """Nobody listens there."""


class Network:
    """All links. ``down``: the servers that refuse connections."""

    def __init__(self, loop: VirtualLoop, seed: str) -> None:
        self._loop = loop
        self._chance = random.Random(f"network {seed}")
        self._links: dict[tuple[str, str], Link] = {}
        self.down: set[str] = set()
        self.requests = 0

    def link(self, process: str, server: str) -> Link:
        """The link between these two."""
        try:
            return self._links[process, server]
        except KeyError:
            return self._links.setdefault(LinkName(process, server), Link())

    def cut(self, process: str, server: str) -> None:
        """Nothing passes until ``heal``."""
        self.link(process, server).cut = True

    def heal(self, process: str, server: str) -> None:
        """Lets everything arrive that was held, in its order."""
        link = self.link(process, server)
        link.cut = False
        arrivals, link.waiting = link.waiting, []
        for arrive in arrivals:
            self._loop.call_soon(arrive, context=NOBODY)

    def send(
        self,
        server: str,
        work: Callable[["Answer"], None],
        process: str | None = None,
        *,
        within_s: float = LONG_S,
    ) -> "asyncio.Future[Any]":
        """Sends a request of the calling process. ``work`` is called when it arrives, and answers now or
        later. The future fails with TimeoutError where its link is cut or slow for longer than
        ``within_s``; what the server does with its time is its own affair."""
        self.requests += 1
        name = process if process is not None else caller()
        link = self.link(name, server)
        now_s = self._loop.time()
        answer = Answer(self, link, self._loop.create_future(), due_s=now_s + within_s)

        def arrive() -> None:
            if link.cut:
                answer.hold(arrive)
            elif server in self.down:
                answer.fail(ServerDownError(f"{server} refuses connections"))
            else:
                work(answer)

        link.there_s = max(link.there_s + APART_S, now_s + self._delay_s(link))
        self._loop.at(link.there_s, arrive)
        if link.there_s > answer.due_s:
            answer.expire()
        return answer.future

    async def ask(
        self,
        server: str,
        work: Callable[[], Any],
        process: str | None = None,
        *,
        within_s: float = LONG_S,
    ) -> Any:
        """Sends a request that is answered at once with what ``work`` returns or raises."""

        def answer_at_once(answer: "Answer") -> None:
            try:
                answer.give(work())
            except Exception as error:  # noqa: BLE001 (the caller gets it as its answer)
                answer.fail(error)

        return await self.send(server, answer_at_once, process, within_s=within_s)

    def later(self, delay_s: float, work: Callable[[], None]) -> asyncio.TimerHandle:
        """Does something at a server after a time."""
        return self._loop.call_later(delay_s, work, context=NOBODY)

    def now_ms(self) -> float:
        """Virtual milliseconds since the beginning."""
        return self._loop.time() * 1_000

    def back(self, link: Link, arrive: Callable[[], None]) -> None:
        """Brings an answer to its asker."""
        link.back_s = max(link.back_s + APART_S, self._loop.time() + self._delay_s(link))
        self._loop.at(link.back_s, arrive)

    def at(self, when_s: float, work: Callable[[], None]) -> None:
        """Does something at that time."""
        self._loop.at(when_s, work)

    def _delay_s(self, link: Link) -> float:
        shortest, longest = link.delay_ms
        return (shortest + (longest - shortest) * self._chance.random()) / 1_000


class Answer:
    """The way back of one request. It must be there at ``due_s``, unless the server takes its time."""

    def __init__(self, network: Network, link: Link, future: "asyncio.Future[Any]", due_s: float) -> None:
        self._network, self._link = network, link
        self.future = future
        self.due_s = due_s
        self.given = False

    def give(self, value: Any) -> None:
        """Answers. Only the first answer counts."""
        if not self.given:
            self._send(self.future.set_result, value)

    def fail(self, error: Exception) -> None:
        """Answers with an error."""
        if not self.given:
            self._send(self.future.set_exception, error)

    def _send(self, settle: Callable[[Any], None], content: Any) -> None:
        self.given = True

        def arrive() -> None:
            if self._link.cut:
                self.hold(arrive)
            elif not self.future.done():
                settle(content)

        self._network.back(self._link, arrive)
        if self._link.back_s > self.due_s:
            self.expire()

    def hold(self, arrive: Callable[[], None]) -> None:
        """The link is cut: this arrives once it is healed, and the asker may give up before."""
        self._link.waiting.append(arrive)
        self.expire()

    def expire(self) -> None:
        """The asker gives up when its time is over. A timer for each request would cost too much."""

        def give_up() -> None:
            if not self.future.done():
                self.future.set_exception(TimeoutError())

        self._network.at(self.due_s, give_up)


def caller() -> str:
    """The name of the process that runs now."""
    process = CURRENT.get()
    return process.name if process is not None else "nobody"
