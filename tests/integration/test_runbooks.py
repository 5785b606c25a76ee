"""Each transcript of docs/runbooks is printed by a live installation with the fault on."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from lab.demo.fleet import NAMESPACE
from tests.integration.runbook_lab import Lab
from tests.integration.runbook_pages import Page
from tests.places import ROOT
from tieline.events import Outcomes, PoolObservation, Report
from tieline.producer import Producer
from tieline.topics import Topics

PAGES = ROOT / "docs" / "runbooks"
HEAD = r"^leader \w+ "
LOOSENED = "--force contract_loosened --force critical_shed --force no_n_minus_1"
FORCED = "--force critical_shed --force last_pool --force no_n_minus_1"


async def planned_maintenance(lab: Lab) -> None:
    """Nothing is broken: the region is emptied in time, and comes back."""
    region = "oci/us-chicago-1"
    await lab.asks(
        f"tieline whatif --lose {region}",
        "^as of",
        "offered",
        "served",
        "^│ shed critical ",
        "^│ shed sheddable ",
        "^│ moved at once",
    )
    await lab.orders(
        f"tieline drain {region} --for 2h --reason 'new power supplies' --force no_n_minus_1 "
        "--wait=idle --within 60s",
        "^drain",
        "^published",
        "are in flight",
    )
    await lab.asks("tieline status", HEAD, "^orders in force", "^drain oci", "^oci/us-chicago-1.*drained by")
    await lab.orders(f"tieline undrain {region} --reason 'the work is done'", "^undrain", "^published")


async def poisoned_topic(lab: Lab) -> None:
    """Rubbish on the topic of reports."""
    producer = AIOKafkaProducer(bootstrap_servers=lab.stack.kafka_bootstrap)
    await producer.start()
    for _ in range(3):
        await producer.send_and_wait(Topics(NAMESPACE).reports.name, b"rubbish", key=b"azure/eastus2")
    await producer.stop()
    await lab.asks("tieline status", HEAD, "dead letter")
    await lab.asks("tieline deadletter list", "^number", "^0 +tieline.reports", "^2 +tieline.reports")
    await lab.asks("tieline deadletter show 0", "^letter 0", "^rejected for", "^from:", "^key:", "^rubbish")
    await lab.orders(
        "tieline deadletter discard --rejected-for not_cloudevents --reason 'a producer was mended'",
        "letter 0:",
        "letter 2:",
    )


async def bad_policy(lab: Lab) -> None:
    """Somebody let the wrong provider serve public calls, which are exclusive to another by contract."""
    policy = lab.policy_path.read_text()
    assert policy.count("exclusive_provider: azure") == 1
    (lab.directory / "new.yaml").write_text(
        policy.replace("exclusive_provider: azure", "exclusive_provider: coreweave")
    )
    apply = "tieline policy apply new.yaml --reason 'cheaper'"
    _, output = await lab.run(f"{apply} {LOOSENED}")
    assert "is in force" in output, output
    await lab.asks("tieline policy history", "^policy 1", "exclusive_provider", "^policy 0")
    await lab.asks("tieline history --from -3m --kind policy", "^20", "policy ")
    await lab.asks("tieline explain api/us", "^api/us", "^│ coreweave/us-east-04")
    await lab.orders(
        f"tieline policy rollback 0 --reason 'azure alone may serve api' {LOOSENED}",
        "is in force",
        "^published",
    )
    await lab.orders(apply, "exclusive_provider", "might use", "^nothing was sent", status=1)


async def wrong_clock(lab: Lab) -> None:
    """A gateway's clock is 25 s behind."""
    async with Producer(lab.stack.kafka_bootstrap, prefix=NAMESPACE) as producer:

        async def send(sequence: int, behind_ms: int) -> None:
            end_ms = time.time_ns() // 1_000_000 - behind_ms
            rows = (PoolObservation("oci/us-chicago-1/gpt-oss", outcomes=Outcomes(ok=20)),)
            await producer.send(
                Report(
                    "gateway", "oci", "us-chicago-1", "run", sequence, end_ms - 15_000, end_ms, 15_000, rows
                )
            )

        await send(1, 25_000)
        await lab.asks("tieline status", HEAD, "gateway")
        await lab.asks("tieline history --from -5m --kind alarm", "^20", r"alarm +gateway:.*clock")
        await send(2, 0)
    await lab.asks("tieline history --from -5m --kind alarm", "^20", "alarm +over: gateway")


async def expired_credentials(lab: Lab) -> None:
    """A provider refuses the credentials."""
    pool = "gcp/us-central1/gemini-pro"
    for standin in lab.standins_of("gcp"):
        await standin.fault("401")
    try:
        await lab.asks("tieline status", HEAD, f"alarm.*{pool}", f"^{pool} +down")
        await lab.asks(f"tieline explain {pool}", "^generation", "state +│", "rule +│ it is held")
    finally:
        for standin in lab.standins_of("gcp"):
            await standin.clear()
    await lab.asks("tieline status", HEAD, "^gcp .* 2 healthy$")


async def model_faulty(lab: Lab) -> None:
    """One deployment answers 500 to everything."""
    pool = "coreweave/us-east-04/gpt-oss"
    for standin in lab.standins_of("coreweave/us-east-04"):
        await standin.fault("status", status=500)
    try:
        await lab.asks("tieline status", HEAD, "^coreweave ", f"^{pool} +down")
        await lab.asks(f"tieline explain {pool}", "^generation", "state +│ down", "rule +│ it is held")
        await lab.orders(
            f"tieline drain {pool} --for 4h --reason 'its model is mended' --force no_n_minus_1",
            "^drain",
            "^published",
        )
    finally:
        for standin in lab.standins_of("coreweave/us-east-04"):
            await standin.clear()
    await lab.orders(f"tieline undrain {pool} --reason 'the model answers again'", "^undrain", "^published")


async def region_down(lab: Lab) -> None:
    """A region takes requests and never answers."""
    region = "azure/swedencentral"
    [standin] = lab.standins_of(region)
    standin.pause()
    try:
        await lab.asks("tieline status", HEAD, f"^{region}/gpt-4o +down")
        await lab.asks(
            f"tieline explain {region}/gpt-4o",
            "^generation",
            "state +│ down",
            "rule +│ it is held",
            "carries +│",
        )
        await lab.asks(
            f"tieline history --from -3m --pool {region} --kind forced_move",
            "^20",
            "forced move",
            f"why: {region}/gpt-4o: its load moved away",
        )
        await lab.orders(
            f"tieline drain {region} --for 1h --reason 'swedencentral hangs' {FORCED}",
            "^drain",
            "^published",
        )
    finally:
        standin.resume()
    await lab.orders(f"tieline undrain {region} --reason 'it answers again'", "^undrain", "^published")


async def provider_down(lab: Lab) -> None:
    """Nobody listens at a provider any more."""
    for standin in lab.standins_of("gcp"):
        await standin.kill()
    try:
        await lab.asks(
            "tieline status",
            HEAD,
            "^gcp ",
            "^gcp/us-central1/gemini-pro +down",
            "^gcp/europe-west4/gemini-pro +down",
        )
        await lab.asks(
            "tieline history --from -3m --pool gcp --kind forced_move",
            "^20",
            "forced move",
            "why: gcp/[a-z0-9-]+/gemini-pro: its load moved away",
        )
        await lab.orders(
            "tieline whatif --n-1", "┃ lost", "provider azure", "provider oci", "provider coreweave"
        )
        await lab.orders(
            f"tieline evacuate gcp --for 2h --reason 'gcp is down' {FORCED}",
            "^evacuate",
            "^published",
        )
    finally:
        for region in ("gcp/us-central1", "gcp/europe-west4"):
            await lab.revive(region)
    await lab.orders("tieline undrain gcp --reason 'gcp is back'", "^undrain", "^published")


async def capacity_crunch(lab: Lab) -> None:
    """Every provider has less than half of its capacity."""
    for standin in lab.standins.values():
        await standin.capacity(factor=0.4)
    try:
        await lab.asks("tieline status", "^SHEDDING batch", HEAD)
        await lab.asks(
            "tieline explain batch/us", "^batch/us.*sheds", "azure/swedencentral.*data from this origin"
        )
        await lab.asks(
            "tieline whatif --growth 20%",
            "^as of",
            "^│ offered",
            "^│ served",
            "^│ shed critical ",
            "^│ shed sheddable ",
        )
    finally:
        for standin in lab.standins.values():
            await standin.capacity(factor=1.0)
    await lab.until_calm()
    await lab.asks("tieline status", HEAD, "^azure ")


async def controller_lost(lab: Lab) -> None:
    """The leader is gone, then the last controller."""
    await lab.kill_leader()
    await lab.asks("tieline status", HEAD + r"\(epoch [1-9]", "^controller .* leads[^;]*$")
    await lab.asks("tieline history --from -2m --kind leader", "^20", "leader ")
    assert lab.standby is not None
    await lab.standby.kill()
    await lab.asks("tieline status", "NO LEADER")
    await lab.start_controller()
    await lab.start_standby()
    await lab.asks("tieline status", HEAD)


async def redis_lost(lab: Lab) -> None:
    """Redis is gone, and comes back empty."""
    await lab.stack.valkey.kill()
    try:
        # It is said once the controller has tried to write. Another alarm, as of a late reader, passes.
        fault = "^controller .* leads[^;]*; Redis at [^;]*Error 111[^;]*$"
        await lab.asks("tieline status", HEAD, fault, "^Redis can", status=(0, 1, 2))
    finally:
        await lab.stack.valkey.start()
    await lab.asks("tieline status", HEAD)


async def kafka_lost(lab: Lab) -> None:
    """Kafka is gone, and comes back with its data."""
    await lab.stack.kafka.kill()
    try:
        await lab.asks("tieline status", "^generation", "^Kafka can", status=(0, 1, 2))
    finally:
        await lab.stack.kafka.start()
    await lab.asks("tieline status", HEAD)


Runbook = Callable[[Lab], Awaitable[None]]
RUNBOOKS: tuple[Runbook, ...] = (
    planned_maintenance,
    bad_policy,
    poisoned_topic,
    wrong_clock,
    expired_credentials,
    model_faulty,
    region_down,
    provider_down,
    capacity_crunch,
    controller_lost,
    redis_lost,
    kafka_lost,
)


# All of them take about five minutes; a run without RUNBOOKS=whole tries those that differ most.
SAMPLE = (planned_maintenance, bad_policy, provider_down, redis_lost)
TRIED = RUNBOOKS if os.environ.get("RUNBOOKS") == "whole" else SAMPLE


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Lab]:
    """The installation, until the end of the test."""
    lab = Lab(directory)
    try:
        await lab.open()
        yield lab
    finally:
        await lab.stop()


@pytest.mark.timeout(1800)
async def test_every_runbook_prints_what_its_page_says(
    tmp_path: Path, subtests: pytest.Subtests, request: pytest.FixtureRequest
) -> None:
    """One installation for all of them, one after the other: the fault, the commands, and the way back."""
    rewrites = request.config.getoption("--rewrite")
    async with running(tmp_path) as lab:
        for runbook in TRIED:
            with subtests.test(runbook.__name__):
                lab.page = Page(PAGES / f"{runbook.__name__.replace('_', '-')}.md")
                await runbook(lab)
                lab.page.close(rewrites=rewrites)
                await lab.until_calm()
