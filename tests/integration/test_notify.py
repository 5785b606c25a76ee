"""Notifications over real Kafka and real HTTP: each target is told once, through failures and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.history.entries import Entry, HistoryRecord, encode_history
from controller.kafka.ordered_log import start_producer
from controller.notify.follow import Follower
from controller.notify.targets import Access
from tests.integration.controllers import ControllerProcess, settings_of, tieline
from tests.integration.notified import Sink
from tests.integration.replicated import create_topic, create_topics, delete_topics
from tests.unit.controller.notify.wanted import alarm, move, target
from tests.waiting import until
from tieline.topics import Topics

RETRY_FIRST_S = 0.05
TIMEOUT_S = 3.0
HANGS_S = 100.0  # longer than a test waits


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink().listening() as sink:
        yield sink


class History:
    """Writes records as a leader does."""

    def __init__(self, kafka: str, topics: Topics) -> None:
        self.kafka, self.topics = kafka, topics
        self._number = 0

    async def write(self, *entries: Entry, standing: tuple[Entry, ...] = ()) -> None:
        self._number += 1
        record = HistoryRecord(1, "writer", self._number, entries=entries, standing=standing)
        producer = await start_producer(self.kafka)
        await producer.send_and_wait(self.topics.history.name, value=encode_history(record), partition=0)
        await producer.stop()

    def follower(self, url: str, standing_every_ms: int = 60_000, **more: object) -> Follower:
        """One that sends to this address."""
        return Follower(
            self.kafka,
            self.topics.prefix,
            self.topics.history.name,
            target=target(**{"timeout_s": TIMEOUT_S, **more}),
            access=Access(f"{url}/hook", "", {}),
            retry_first_s=RETRY_FIRST_S,
            standing_every_ms=standing_every_ms,
        )

    @asynccontextmanager
    async def followed(self, url: str, **more: Any) -> AsyncIterator[Follower]:
        """A follower that has its place in the log."""
        follower = self.follower(url, **more)
        running = asyncio.create_task(follower.run())
        try:
            await until(lambda: follower.follows, what="the follower has the partition")
            yield follower
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.fixture
async def history(kafka_bootstrap: str, prefix: str) -> History:
    topics = Topics(prefix.rstrip("."))
    await create_topics(kafka_bootstrap, topics)
    return History(kafka_bootstrap, topics)


async def test_a_target_that_fails_is_told_in_the_end(history: History, sink: Sink) -> None:
    """After 500, 429 and silence, no sooner than Retry-After says, in order, each time under the same key."""
    sink.script = [(500, ""), (429, "1"), (0, ""), (200, "")]
    async with history.followed(sink.url) as follower:
        await history.write(alarm(), move(1), standing=(alarm(),))
        await sink.until_told(5)
        await until(lambda: follower.counts["sent"] == 2)
        assert follower.trouble == ""
    assert sink.texts() == [*["begins prober: its last word is over"] * 4, "moved 1"]
    assert len({headers["Idempotency-Key"] for _, headers, _ in sink.requests}) == 2
    assert sink.requests[2][0] - sink.requests[1][0] >= 1.0
    assert (follower.counts["retried"], follower.counts["failed"]) == (3, 0)


async def test_what_a_target_refuses_is_given_up(history: History, sink: Sink) -> None:
    """400 means that the same request would be refused again; the next one is sent."""
    sink.script = [(400, "")]
    async with history.followed(sink.url) as follower:
        await history.write(move(1), move(2))
        await until(lambda: follower.counts["sent"] == 1)
        assert (follower.counts["failed"], follower.counts["retried"]) == (1, 0)


async def test_a_restart_goes_on_where_it_stopped(history: History, sink: Sink) -> None:
    """Nothing is told twice, nothing is lost, and what began before the first start only ends."""
    await history.write(move(1), alarm(about="old"), standing=(alarm(about="old"),))
    async with history.followed(sink.url):
        await history.write(alarm(), standing=(alarm(), alarm(about="old")))
        await sink.until_told(1)
    await history.write(alarm("ends"), alarm("ends", about="old"), move(2))
    async with history.followed(sink.url):
        await sink.until_told(4)
        await history.write(move(3))
        await sink.until_told(5)
    assert sink.texts() == [
        "begins prober: its last word is over",
        "ends prober: its last word is over",
        "ends old: its last word is over",
        "moved 2",
        "moved 3",
    ]


async def test_a_history_that_begins_anew_is_told_from_its_first_record_on(
    history: History, sink: Sink
) -> None:
    """Its topic was deleted and created again under a process, and the next one goes on where that ended."""
    async with history.followed(sink.url) as follower:
        await history.write(*(move(number) for number in range(1, 4)))
        await history.write(move(4))
        await sink.until_told(4)
        await delete_topics(history.kafka, history.topics.history.name)
        await create_topic(history.kafka, history.topics.history)
        await history.write(move(5))
        async with asyncio.timeout(50):  # aiokafka alone would look for the topic after five minutes
            await sink.until_told(5)
        await until(lambda: follower.follows, what="the follower has the partition of the new topic")
    await history.write(move(6))
    async with history.followed(sink.url):
        await sink.until_told(6)
    assert sink.texts() == [f"moved {number}" for number in range(1, 7)]


async def test_of_two_processes_one_tells(history: History, sink: Sink) -> None:
    """And when it ends the other goes on."""
    async with history.followed(sink.url) as first:
        second = history.follower(sink.url)
        running = asyncio.create_task(second.run())
        for number in range(1, 6):
            await history.write(move(number))
        await until(lambda: first.counts["sent"] + second.counts["sent"] == 5)
    try:
        await history.write(move(6))
        await sink.until_told(6)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert sink.texts() == [f"moved {number}" for number in range(1, 7)]


async def test_an_alertmanager_is_told_again_what_stands(history: History, sink: Sink) -> None:
    """It takes an alert for over that nobody repeats; what has ended is not repeated."""
    async with history.followed(sink.url, kind="alertmanager", standing_every_ms=100):
        await history.write(alarm(), standing=(alarm(),))
        await sink.until_told(4)
        await history.write(alarm("ends"))
        await until(lambda: [body for _, _, (body,) in sink.requests if "startsAt" not in body])
    told = [body for _, _, (body,) in sink.requests]
    assert {body["labels"]["key"] for body in told} == {"alarm:prober"}
    assert "startsAt" not in told[-1], "nothing is told to stand after its end"


async def test_a_target_that_hangs_delays_no_other(history: History, sink: Sink) -> None:
    """Each has its own position, and its own queue."""
    async with Sink().listening() as hung:
        hung.script = [(0, "")] * 20
        hanging = history.followed(hung.url, name="hung", timeout_s=HANGS_S)
        async with hanging, history.followed(sink.url, name="well"):
            await history.write(move(1))
            await hung.until_told(1)
            await sink.until_told(1)
    assert sink.texts() == ["moved 1"]


TARGETS = """
targets:
  - {{name: chat, kind: slack, url: "{url}/slack", events: [alarm, forced_move]}}
  - {{name: pager, kind: pagerduty, url: "{url}/pager", routing_key: {{env: ROUTING_KEY}}, events: [alarm]}}
  - {{name: alerts, kind: alertmanager, url: "{url}/alertmanager", events: [alarm]}}
  - {{name: hook, kind: webhook, url: "{url}/webhook", events: [alarm], body: {{line: "{{kind}} {{text}}"}}}}
"""


async def test_every_kind_of_target_is_told_by_a_process(
    history: History, sink: Sink, redis_url: str, tmp_path: Path
) -> None:
    """As a file names them; the secret shows nowhere, and SIGTERM ends the process cleanly."""
    file = tmp_path / "targets.yaml"
    file.write_text(TARGETS.format(url=sink.url))
    settings = replace(settings_of(history.kafka, redis_url, history.topics.prefix), policy=None)
    overrides = {"ROUTING_KEY": "routing-secret", "TIELINE_POLICY": ""}
    tested = await tieline(settings, "notify", str(file), "--test", **overrides)
    assert (tested.status, tested.out.count("took it")) == (0, 4), tested.err
    sink.requests.clear()
    process = ControllerProcess(settings, tmp_path / "notify.log", "notify", str(file), **overrides)
    await process.start()
    await process.until_said("follows the history", times=4)
    await history.write(alarm(), standing=(alarm(),))
    await sink.until_told(4)
    bodies = [body for _, _, body in sink.requests]
    assert any("its last word is over" in body.get("text", "") for body in bodies if isinstance(body, dict))
    assert any(body.get("event_action") == "trigger" for body in bodies if isinstance(body, dict))
    assert any(body[0]["labels"]["alertname"] == "TielineAlarm" for body in bodies if isinstance(body, list))
    assert {"line": "alarm prober: its last word is over"} in bodies
    assert await process.stop() == 0
    assert "routing-secret" not in process.text()
