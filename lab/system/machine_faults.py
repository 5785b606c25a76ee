"""The machine's faults, done: each function breaks something, and returns what mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from redis.exceptions import OutOfMemoryError, ReadOnlyError

from lab.simulated import kafka, redis
from lab.simulated.kafka import SimRecord
from lab.simulated.loop import Life
from lab.simulated.network import USUAL_MS
from lab.system import record_faults
from lab.system.installation import Installation
from lab.system.spec import FaultKind, MachineFault
from lab.system.trace import Trace

Mend: TypeAlias = Callable[[], None]
Break: TypeAlias = Callable[["Breaker", MachineFault, str], Mend]


class Breaker:
    """Does faults to one installation. ``done``: how often each kind was in force."""

    def __init__(self, installation: Installation, trace: Trace) -> None:
        self.installation = installation
        self.done: dict[str, int] = {}
        self._trace = trace
        self._armed: list[tuple[MachineFault, str]] = []
        installation.kafka.on_append.append(self._appended)
        installation.redis.on_script.append(self._projected)

    def break_now(self, fault: MachineFault) -> Mend:
        """Breaks something now. Returns what mends it."""
        name = fault.target
        if name == "leader":
            name = self.installation.leader() or "controller-a"
        if fault.kind in MOMENTS:
            self._armed.append((fault, name))
            return lambda: self._disarm(fault, name)
        self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
        return BREAKS[fault.kind](self, fault, name)

    def kill(self, name: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        self._trace.note("kill", name)
        self.installation.processes[name].kill()

    def stop(self, name: str) -> Mend:
        """SIGSTOP."""
        self._trace.note("stop", name)
        process = self.installation.processes[name]
        process.stop()

        def go_on() -> None:
            self._trace.note("go on", name)
            process.resume()

        return go_on

    def _appended(self, record: SimRecord, sender: str) -> None:
        """A record has just been appended, and its sender does not know it yet."""
        if record.topic == self.installation.topics.routes.name:
            self._strike("append", sender)
        elif record.topic == self.installation.topics.leader.name and is_claim(record):
            self._strike("claim", sender)

    def _projected(self, sender: str, script: bytes) -> None:
        if b"projection of one publication" in script:
            self._trace.note("project", sender)
            self._strike("projection", sender)

    def _strike(self, moment: str, sender: str) -> None:
        for fault, name in list(self._armed):
            deed, _, at = fault.kind.partition("_at_")
            process = self.installation.processes.get(sender)
            if at != moment or name != sender or process is None or process.life is not Life.RUNS:
                continue
            self._armed.remove((fault, name))
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
            if deed == "killed":
                self.kill(sender)
            else:
                self.installation.network.later(max(fault.for_s, 0.5), self.stop(sender))
            return

    def _disarm(self, fault: MachineFault, name: str) -> None:
        if (fault, name) in self._armed:
            self._armed.remove((fault, name))


def is_claim(record: SimRecord) -> bool:
    """Whether a record of the leader log is a claim."""
    return any(name == "ce_type" and b"claim" in value.lower() for name, value in record.headers)


def _killed(breaker: Breaker, _fault: MachineFault, name: str) -> Mend:
    breaker.kill(name)
    return lambda: None


def _stopped(breaker: Breaker, _fault: MachineFault, name: str) -> Mend:
    return breaker.stop(name)


def _cut(server: str) -> Break:
    def cut(breaker: Breaker, _fault: MachineFault, name: str) -> Mend:
        network = breaker.installation.network
        network.cut(name, server)
        return lambda: network.heal(name, server)

    return cut


def _slow(breaker: Breaker, fault: MachineFault, name: str) -> Mend:
    links = [breaker.installation.network.link(name, server) for server in (kafka.SERVER, redis.SERVER)]
    for link in links:
        link.delay_ms = (0.5, fault.value)

    def mend() -> None:
        """As usual again, and not as before: that may be another such fault, which is over by then."""
        for link in links:
            link.delay_ms = USUAL_MS

    return mend


def _down(server: str) -> Break:
    def down(breaker: Breaker, _fault: MachineFault, _name: str) -> Mend:
        breaker.installation.network.down.add(server)
        return lambda: breaker.installation.network.down.discard(server)

    return down


def _emptied(breaker: Breaker, _fault: MachineFault, _name: str) -> Mend:
    breaker.installation.redis.empty()
    return lambda: None


def _taken_back(breaker: Breaker, fault: MachineFault, _name: str) -> Mend:
    breaker.installation.redis.take_back(fault.value)
    return lambda: None


def _refusing(error: type[ReadOnlyError] | type[OutOfMemoryError]) -> Break:
    def refuse(breaker: Breaker, _fault: MachineFault, _name: str) -> Mend:
        server = breaker.installation.redis
        server.refusal = error

        def mend() -> None:
            server.refusal = None

        return mend

    return refuse


def _clock(breaker: Breaker, fault: MachineFault, name: str) -> Mend:
    process = breaker.installation.processes[name]
    process.clock_ahead_ms = round(fault.value)

    def mend() -> None:
        process.clock_ahead_ms = 0

    return mend


def _broker_clock(breaker: Breaker, fault: MachineFault, _name: str) -> Mend:
    clocks, broker = breaker.installation.kafka.brokers_ahead_ms, int(fault.target)
    clocks[broker] = round(fault.value)

    def mend() -> None:
        clocks[broker] = 0

    return mend


def _letters(breaker: Breaker, _fault: MachineFault, _name: str) -> Mend:
    topic = breaker.installation.topics.deadletter.name
    breaker.installation.kafka.read_only.add(topic)
    return lambda: breaker.installation.kafka.read_only.discard(topic)


def _of_records(deed: Callable[[Installation, MachineFault], Mend]) -> Break:
    return lambda breaker, fault, _name: deed(breaker.installation, fault)


MOMENTS: frozenset[FaultKind] = frozenset(
    {"killed_at_append", "stopped_at_append", "killed_at_projection", "killed_at_claim", "stopped_at_claim"}
)
BREAKS: dict[FaultKind, Break] = {
    "killed": _killed,
    "stopped": _stopped,
    "cut_from_kafka": _cut(kafka.SERVER),
    "cut_from_redis": _cut(redis.SERVER),
    "slow": _slow,
    "kafka_down": _down(kafka.SERVER),
    "redis_down": _down(redis.SERVER),
    "redis_emptied": _emptied,
    "redis_taken_back": _taken_back,
    "redis_read_only": _refusing(ReadOnlyError),
    "redis_full": _refusing(OutOfMemoryError),
    "clock_ahead": _clock,
    "broker_clock_ahead": _broker_clock,
    "letters_refused": _letters,
    "hints_lost": _of_records(record_faults.hints_lost),
    "unread_partition": _of_records(record_faults.unread),
    "topic_recreated": _of_records(record_faults.recreated),
    "records_repeated": _of_records(record_faults.repeated),
    "old_records": _of_records(record_faults.old),
    "poison": _of_records(record_faults.poison),
    "clocks_apart": _of_records(record_faults.clocks_apart),
}
