"""The drill of `script/containers`: brings compose up, breaks parts of it, and says what it saw.

Every expectation that is not met is one line at the end, and exit status 1. Needs the images; `COMPOSE` is
the compose command.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from tools.composed import FILE, Compose, UnexpectedError, listed
from tools.outlived import acknowledged_records_outlive

KILLED = "gcp"
STOPPED = ("traffic", "prober", "controller", "azure", "gcp", "oci", "coreweave", "kafka", "valkey")
ALIVE = ("healthy", "degraded")
TRICKLE = 0.02
STOP_WITHIN_S = 5.0
WINDOW_S = 5.0
LOOK_EVERY_S = 0.25


class Note(NamedTuple):
    """One line of the traffic generator about an attempt or an end."""

    at_ms: int
    pool: str
    outcome: str  # empty: an attempt
    why: str


class Drill:
    """One run over one compose project."""

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.failures: list[str] = []

    def say(self, text: str) -> None:
        print(text, flush=True)

    def expect(self, holds: bool, what: str) -> None:
        """Says an expectation that was not met, and remembers it."""
        if not holds:
            self.failures.append(what)
            self.say(f"  NOT AS EXPECTED: {what}")

    def run(self) -> int:
        """Everything, in order; what was up is taken down by the caller."""
        self.images()
        self.up()
        self.live_pools()
        self.stand_in_lost()
        self.leader_lost()
        self.kafka_lost()
        self.all_stopped()
        for failure in self.failures:
            self.say(f"FAILED: {failure}")
        self.say("passed" if not self.failures else f"{len(self.failures)} expectations not met")
        return 1 if self.failures else 0

    def images(self) -> None:
        """Sizes; nobody is root; nothing of the build's machine is in any layer."""
        for image in self.compose.images():
            facts = json.loads(self.compose.docker("image", "inspect", image))[0]
            user, layers = facts["Config"]["User"] or "root", len(facts["RootFS"]["Layers"])
            self.say(f"image {image}: {facts['Size'] / 1e6:.0f} MB, {layers} layers, user {user}")
            if image.startswith("tieline"):
                self.expect(user not in ("root", "0"), f"{image} runs as root")
                found = [name for name in listed(image) if "build-settings" in name]
                self.expect(not found, f"{image} keeps {found[:3]} of the machine that built it")

    def up(self) -> None:
        began_s = time.monotonic()
        self.compose("up", "--wait", "--no-build", "--quiet-pull")
        self.say(f"up: every service is healthy after {time.monotonic() - began_s:.0f} s")
        read_only = self.compose(
            "exec", "-T", "controller", "sh", "-c", "touch /x /opt/tieline/x 2>&1; id -u"
        )
        self.expect(read_only.count("Read-only") == 2, f"the root is writable: {read_only}")

    def live_pools(self) -> None:
        """`tieline status` shows every pool alive, and requests are answered."""

        def alive() -> bool:
            pools = self.status()["overview"]["pools"]
            return bool(pools) and all(pool["state"] in ALIVE for pool in pools)

        self.until(alive, 60, "every pool alive in tieline status")
        self.until(lambda: bool(self.shares()), 30, "answered requests")
        for line in self.compose("run", "--rm", "-T", "tieline", "status").splitlines()[:10]:
            self.say(f"  {line}")

    def stand_in_lost(self) -> None:
        """SIGKILL of a provider: its traffic goes elsewhere, nothing is lost, and it comes back."""
        before = self.shares()
        killed_ms = self.now_ms()
        self.compose("kill", KILLED)
        self.until(
            lambda: self.shares().get(KILLED, 0.0) <= TRICKLE, 30, f"the traffic of {KILLED} elsewhere"
        )
        served = [
            note.at_ms for note in self.notes() if note.outcome == "ok" and note.pool.startswith(KILLED)
        ]
        last_s = (max(served, default=killed_ms) - killed_ms) / 1_000
        after = self.shares()
        self.say(f"{KILLED} killed: {shown(before)} -> {shown(after)}; its last answer {last_s:.1f} s after")
        self.lost_since(killed_ms, f"{KILLED} was killed")
        for container in self.compose.containers(KILLED):
            self.compose.docker("start", container)
        began_s = time.monotonic()
        self.until(lambda: self.shares().get(KILLED, 0.0) > TRICKLE, 90, f"the traffic of {KILLED} back")
        self.say(f"{KILLED} back: {shown(self.shares())} after {time.monotonic() - began_s:.0f} s")

    def leader_lost(self) -> None:
        """SIGKILL of the controller that leads: another leads, requests go on."""
        leader = self.leader()
        self.expect(leader is not None, "one controller leads")
        before = self.status()["generation"]
        killed_ms, began_s = self.now_ms(), time.monotonic()
        self.compose.docker("kill", leader or "")
        self.until(lambda: self.leader() not in (None, leader), 30, "another controller leads")
        took_s = time.monotonic() - began_s
        after = self.status()["generation"]
        self.say(f"the leading controller killed: another leads after {took_s:.1f} s, {before} -> {after}")
        self.lost_since(killed_ms, "the leader was killed")
        self.compose.docker("start", leader or "")
        self.until(self.all_well, 90, "every service healthy again")

    def kafka_lost(self) -> None:
        """SIGKILL of Kafka while records are sent: each that it acknowledged is there afterwards."""
        killed_ms = self.now_ms()
        kafka = self.compose.containers("kafka")[0]

        def kill() -> None:
            self.compose.docker("kill", kafka)

        def start() -> None:
            self.compose.docker("start", kafka)

        sent, found = asyncio.run(acknowledged_records_outlive(self.compose.kafka, kill, start))
        self.say(f"Kafka killed and started: {found} of {sent} acknowledged records are there")
        self.expect(found == sent and sent > 0, f"{sent - found} acknowledged records are gone")
        self.until(lambda: self.leader() is not None, 60, "a leader after Kafka came back")
        self.lost_since(killed_ms, "Kafka was killed")
        self.until(self.all_well, 90, "every service healthy again")

    def all_stopped(self) -> None:
        """SIGTERM ends every container within its limit, in the order of their needs, as compose does."""
        for container in [one for service in STOPPED for one in self.compose.containers(service)]:
            began_s = time.monotonic()
            self.compose.docker("stop", "--time", "20", container)
            took_s = time.monotonic() - began_s
            state = json.loads(self.compose.docker("inspect", container))[0]
            name, code = state["Name"].lstrip("/"), state["State"]["ExitCode"]
            self.say(f"  SIGTERM {name}: ended with {code} after {took_s:.1f} s")
            self.expect(took_s <= STOP_WITHIN_S, f"{name} took {took_s:.1f} s to stop")
            self.expect(code in (0, 143), f"{name} ended with {code}")

    def all_well(self) -> bool:
        """Every service runs and its health check says so. A controller that met no Kafka at its start has
        ended with one sentence, and is started again."""
        states = [
            json.loads(self.compose.docker("inspect", container))[0]["State"]
            for container in self.compose.containers(*STOPPED)
        ]
        return all(state["Running"] and state["Health"]["Status"] == "healthy" for state in states)

    def lost_since(self, since_ms: int, when: str) -> None:
        """No request failed from then on."""
        ends = [note for note in self.notes() if note.at_ms >= since_ms and note.outcome]
        counts = Counter(note.outcome for note in ends)
        self.say(f"  requests ended since {when}: {dict(sorted(counts.items()))}")
        for note in ends:
            if note.outcome == "failed":
                self.say(f"  lost {(note.at_ms - since_ms) / 1_000:.1f} s after, at {note.pool}: {note.why}")
        self.expect(
            counts["failed"] == 0 and counts["ok"] > 0, f"{counts['failed']} requests lost after {when}"
        )

    def shares(self) -> dict[str, float]:
        """Provider -> share of the answers of the last seconds."""
        notes = self.notes()
        since_ms = max((note.at_ms for note in notes), default=0) - WINDOW_S * 1_000
        recent = Counter(
            note.pool.split("/")[0] for note in notes if note.outcome == "ok" and note.at_ms >= since_ms
        )
        total = sum(recent.values())
        return {provider: count / total for provider, count in sorted(recent.items())} if total else {}

    def notes(self) -> list[Note]:
        """What the traffic generator wrote last."""
        lines = self.compose(
            "logs", "--no-log-prefix", "--no-color", "--tail", "6000", "traffic"
        ).splitlines()
        read = (json.loads(line) for line in lines if line.startswith('{"event":'))
        return [
            Note(line["at_ms"], line.get("pool", ""), line.get("outcome", ""), line.get("why", ""))
            for line in read
            if line["event"] in ("ended", "tried")
        ]

    def leader(self) -> str | None:
        """The container of the controller that may publish now."""
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
        for container in self.compose.containers("controller", running=True):
            try:
                if "\ntieline_leading 1.0" in self.compose.docker("exec", container, "python", "-c", ask):
                    return container
            except UnexpectedError:
                continue  # it is starting, or ending
        return None

    def status(self) -> Any:
        """`tieline status --json`."""
        return json.loads(self.compose("exec", "-T", "prober", "tieline", "status", "--json"))

    def until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        """Waits for it, within limits."""
        deadline_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline_s:
                self.expect(False, f"{what} (within {within_s:g} s)")
                return
            time.sleep(LOOK_EVERY_S)

    def now_ms(self) -> int:
        """The wall clock, as the traffic generator reads it."""
        return time.time_ns() // 1_000_000


def shown(shares: dict[str, float]) -> str:
    """In words."""
    return ", ".join(f"{provider} {share:.0%}" for provider, share in shares.items()) or "no answers"


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is part of the drill
    compose = Compose(os.environ.get("COMPOSE", "docker compose").split(), FILE)
    try:
        return Drill(compose).run()
    except (UnexpectedError, TimeoutError) as error:
        print(f"FAILED: {error or type(error).__name__}", flush=True)
        print(
            compose("ps", "-a"),
            compose("logs", "--no-color", "--tail", "12", "kafka", "controller"),
            flush=True,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
