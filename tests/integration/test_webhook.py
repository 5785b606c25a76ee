"""Pushes over real HTTP to a real Kafka: what is answered is kept, what is wrong is its sender's error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest

from controller.collect.webhook.hooks import AlertmanagerHook, CloudEventsHook, Hook
from controller.collect.webhook.receiver import Receiver
from controller.collect.webhook.restored import statements_of
from controller.collect.webhook.serving import bounds_of
from controller.core.policy.policy import Source
from controller.process.listening import Listen
from controller.web.server import Server
from tests.integration.ingesting import now_ms
from tests.integration.publishing import publish
from tests.integration.replicated import create_topics
from tests.waiting import until
from tieline.cloudevents import type_of
from tieline.events import Outcomes, PoolObservation, Report
from tieline.producer import Producer
from tieline.topics import Topics

SECRET = "a-secret-of-a-hook"
BEARER = {"authorization": f"Bearer {SECRET}"}
ALERTS = AlertmanagerHook(name="alerts", secret=SECRET, body_max_bytes=20_000)
EVENTS = CloudEventsHook(name="events", secret=SECRET, sources=("probe-1", "probe-2"))


class Answer(NamedTuple):
    """What a push was answered."""

    status: int
    text: str
    headers: dict[str, str]


class Hooks:
    """Hooks that listen, and somebody who pushes."""

    def __init__(self, url: str, receiver: Receiver, http: aiohttp.ClientSession) -> None:
        self.receiver = receiver
        self._url = url
        self._http = http

    async def push(self, name: str, body: Any, headers: dict[str, str] = BEARER, query: str = "") -> Answer:
        """One POST; ``body`` as JSON unless it is bytes."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        url = f"{self._url}/v1/hooks/{name}{query}"
        async with self._http.post(url, data=BytesIO(data), headers=headers) as answer:
            return Answer(answer.status, await answer.text(), dict(answer.headers))


@asynccontextmanager
async def hooks(
    kafka: str, topics: Topics, *, which: Sequence[Hook] = (ALERTS, EVENTS), **settings: Any
) -> AsyncIterator[Hooks]:
    """One process of hooks, ready unless its Kafka is away."""
    bounds = bounds_of(which, 20.0)
    async with Producer(kafka, prefix=topics.prefix, **settings) as producer, aiohttp.ClientSession() as http:
        receiver = Receiver(which, producer, environment={}, bounds=bounds)
        running = asyncio.create_task(receiver.run(kafka, topics.statements.name))
        async with Server(Listen("127.0.0.1", 0), receiver, bounds).listening() as url:
            try:
                yield Hooks(url, receiver, http)
            finally:
                running.cancel()
                await asyncio.wait({running})


def firing(fingerprint: str, *, status: str = "firing", **labels: str) -> dict[str, Any]:
    """A push of Alertmanager with one alert."""
    labels = {"alertname": "Down", "severity": "critical", "provider": "azure", "region": "r0", **labels}
    alert = {"status": status, "labels": labels, "annotations": {}, "fingerprint": fingerprint}
    return {"version": "4", "alerts": [alert]}


def structured(event: Report) -> dict[str, Any]:
    """A CloudEvent in the structured mode."""
    envelope = {"specversion": "1.0", "type": type_of(Report), "source": "/probe", "id": str(event.sequence)}
    return {**envelope, "data": msgspec.to_builtins(event)}


def report(sequence: int, *, source: str = "probe-1", pool: str = "azure/r0/d") -> Report:
    end_ms = now_ms()
    return Report(
        source=source,
        provider="azure",
        region="r0",
        incarnation="inc",
        sequence=sequence,
        window_start_ms=end_ms - 1_000,
        window_end_ms=end_ms,
        interval_ms=1_000,
        pools=(PoolObservation(pool, Outcomes(ok=1)),),
    )


@pytest.fixture
async def topics(kafka_bootstrap: str, prefix: str) -> Topics:
    """Topics with a policy that registers the hooks' sources."""
    mine = Topics(prefix)
    await create_topics(kafka_bootstrap, mine)
    await publish(kafka_bootstrap, mine, 1, Source("alerts", "status"), Source("probe-1", "probe"))
    return mine


async def claims(kafka: str, topics: Topics) -> list[str]:
    """The texts of what the source `alerts` claims on Kafka."""
    statements = await statements_of({"alerts"}, kafka, topics.statements.name)
    return [claim.text for statement in statements for claim in statement.claims]


async def test_what_is_answered_202_is_on_kafka_also_over_a_restart(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """Alerts become whole statements; the next process knows them and ends them by their ids."""
    async with hooks(kafka_bootstrap, topics) as it:
        await until(lambda: not it.receiver.trouble, what="the earlier statements")
        for fingerprint in ("one", "two"):
            answer = await it.push("alerts", firing(fingerprint))
            assert (answer.status, answer.text) == (202, '{"refused":[],"left_out":[]}\n')
        assert await claims(kafka_bootstrap, topics) == ["Down: firing [one]", "Down: firing [two]"]
        ignored = await it.push("alerts", firing("three", severity="info"))
        assert "severity is 'info': the settings map it to nothing" in ignored.text
        unknown = await it.push("alerts", firing("four", provider="azur"))
        assert unknown.status == 422
        assert "provider azur is not in the policy: did you mean azure?" in unknown.text
        nearby = await it.push("alerts", firing("five", pool="x"))
        assert nearby.status == 422
        assert "pool azure/r0/x is not in the policy: did you mean azure/r0/d?" in nearby.text
        assert (await it.push("alerts", firing("six"))).status == 202
        assert await claims(kafka_bootstrap, topics) == [f"Down: firing [{n}]" for n in ("one", "two", "six")]
    async with hooks(kafka_bootstrap, topics) as it:
        await until(lambda: not it.receiver.trouble, what="the earlier statements")
        assert (await it.push("alerts", firing("one", status="resolved"))).status == 202
        assert await claims(kafka_bootstrap, topics) == ["Down: firing [two]", "Down: firing [six]"]


async def test_events_are_checked_before_they_are_sent(kafka_bootstrap: str, topics: Topics) -> None:
    """By the contract, by the hook's sources, and by the policy; a batch goes on behind a bad one."""
    async with hooks(kafka_bootstrap, topics, which=(EVENTS,)) as it:
        json = {**BEARER, "content-type": "application/cloudevents+json"}
        assert (await it.push("events", structured(report(1)), json)).text == '{"taken":1,"refused":[]}\n'
        refused = await it.push("events", structured(report(2, source="probe-2")), json)
        assert refused.status == 422
        assert "source probe-2 is not in the policy: did you mean probe-1?" in refused.text
        batch = [structured(report(3, pool="azure/r0/x")), structured(report(4)), {"specversion": "1.0"}]
        headers = {**BEARER, "content-type": "application/cloudevents-batch+json"}
        answer = await it.push("events", batch, headers)
        outcome = msgspec.json.decode(answer.text)
        assert (answer.status, outcome["taken"]) == (422, 1)
        assert [(entry["number"], entry["reason"]) for entry in outcome["refused"]] == [
            (0, "refused"),
            (2, "not_cloudevents"),
        ]


async def test_who_does_not_show_the_secret_is_let_in_nowhere(unused_tcp_port: int, prefix: str) -> None:
    """And after some tries the address has to wait, also with the secret."""
    async with hooks(f"127.0.0.1:{unused_tcp_port}", Topics(prefix)) as it:
        assert (await it.push("nowhere", b"")).status == 404
        wrong = {"authorization": "Bearer wrong"}
        statuses = [(await it.push("events", b"{}", wrong)).status for _ in range(12)]
        assert statuses == [401] * 11 + [429]
        blocked = await it.push("events", b"{}")
        assert (blocked.status, int(blocked.headers["Retry-After"]) > 30) == (429, True)


async def test_without_kafka_a_push_is_to_come_again(unused_tcp_port: int, prefix: str) -> None:
    """Nothing is answered 202, and bodies are bounded before anybody looks at them."""
    kafka = f"127.0.0.1:{unused_tcp_port}"
    async with hooks(kafka, Topics(prefix), send_timeout_s=0.3) as it:
        for name, body in (("alerts", firing("one")), ("events", structured(report(1)))):
            answer = await it.push(name, body, {**BEARER, "content-type": "application/cloudevents+json"})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        for size in (20_001, 2_000_000):
            assert (await it.push("alerts", b"x" * size)).status == 413
