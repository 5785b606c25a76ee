"""Kafka with TLS and SASL, Redis with TLS and a password: everything works by settings alone."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import tieline
from controller.process.connections import redis_address
from controller.process.settings import Settings
from tests.integration.controllers import FORCED, ControllerProcess
from tests.integration.controllers import tieline as run
from tests.integration.secured import PASSWORD, USER, Secured, secured
from tests.places import EXAMPLE_POLICY
from tests.waiting import until
from tieline.events import Outcomes, PoolObservation

POLICY = EXAMPLE_POLICY


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """A Kafka and a Valkey that let nobody in without TLS and password."""
    async with secured(tmp_path_factory.mktemp("secured")) as running:
        yield running


def settings(doors: Secured, prefix: str) -> Settings:
    """As a command line without flags for security."""
    return Settings(doors.kafka, doors.redis, prefix.rstrip("."), POLICY, unsigned=True)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_controller_commands_and_client_are_let_in(
    doors: Secured, prefix: str, tmp_path: Path, mechanism: str
) -> None:
    """A controller takes events in, publishes and projects; commands read and order; a client follows and
    reports; nobody says the password."""
    given = {**doors.settings, "TIELINE_KAFKA_SASL": mechanism}
    told = settings(doors, prefix)
    controller = ControllerProcess(told, tmp_path / "controller.log", **given)
    await controller.start()
    try:
        await controller.until_said("leads now")
        await controller.until_said("partitions_assigned")
        status = await run(told, "status", **given)
        assert "generation multicloud-1:" in status.out, status.err
        drained = await run(told, "drain", "gcp", *FORCED, "--reason", "test", "--for", "1h", **given)
        assert "published as" in drained.out, drained.err
        await follow_and_report(doors, told.namespace, given)
    finally:
        await controller.kill()
    assert PASSWORD not in (tmp_path / "controller.log").read_text() + status.out + status.err


async def follow_and_report(doors: Secured, namespace: str, given: dict[str, str]) -> None:
    """As an application does."""
    context = ssl.create_default_context(cafile=doors.authorities)
    brokers = tieline.Brokers(doors.kafka, context, given["TIELINE_KAFKA_SASL"], USER, PASSWORD)
    redis = redis_address(doors.redis, given, "TIELINE_REDIS")
    async with (
        tieline.AsyncClient(
            redis, workload="chat", origin="eu", namespace=namespace, kafka=brokers
        ) as client,
        tieline.Producer(brokers, source="prober", prefix=namespace) as producer,
    ):
        await client.ready(timeout=60)
        producer.observe(PoolObservation("gcp/europe-west4/gemini-pro", Outcomes(ok=1), units=1))
        producer.flush(interval_ms=1_000)
        await until(lambda: producer.status.delivered > 0, what="a delivered report")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"TIELINE_KAFKA_PASSWORD_FILE": "", "TIELINE_KAFKA_PASSWORD": "wrong"}, "Kafka can't be read"),
        ({"TIELINE_KAFKA_CA_FILE": "", "TIELINE_KAFKA_TLS": "1"}, "Kafka can't be read"),
        ({"TIELINE_REDIS_PASSWORD_FILE": "", "TIELINE_REDIS_PASSWORD": "wrong"}, "Redis"),
    ],
)
async def test_who_is_not_let_in_is_told_so(
    doors: Secured, prefix: str, wrong: dict[str, str], says: str
) -> None:
    """One sentence, no traceback, no password."""
    ended = await run(settings(doors, prefix), "status", **{**doors.settings, **wrong})
    text = ended.out + ended.err
    assert ended.status == 2, text
    assert says in text
    assert "Traceback" not in text
    assert PASSWORD not in text
