"""Controllers that are wrong in one way each, as real processes beside a leader that is well."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.kafka.ordered_log import Tail
from controller.leading.presence import Roster
from controller.process.clock import now_ms
from controller.process.settings import Settings
from tests.integration.controllers import (
    MAIN,
    POLICY,
    ControllerProcess,
    Fleet,
    handed_over,
    settings_of,
    tieline,
    weights,
)
from tests.integration.redis_servers import on_every_server, single_valkey
from tests.waiting import until
from tieline.events import PoolObservation
from tieline.producer import Producer
from tieline.redis_address import CLUSTER, parse_redis
from tieline.redis_client import connect

SLOW_CLOCK = "import time; true = time.time_ns; time.time_ns = lambda: true() - 60_000_000_000; "
FEW_DESCRIPTORS = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


def changed_policy(directory: Path, old: str, new: str) -> Path:
    text = POLICY.read_text()
    assert old in text
    file = directory / "other.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


async def user(settings: Settings, name: str, *rules: str) -> str:
    """The URL of Redis for a new user with these rules."""
    await on_every_server(settings, "ACL", "SETUSER", name, "reset", "on", ">right", *rules)
    return settings.redis.replace("://", f"://{name}:right@")


async def faults_of(settings: Settings, pid: int) -> list[str]:
    """The kinds of fault that this process says on the topic of controllers within seconds."""
    roster = Roster()
    tail = Tail(settings.kafka, settings.topics.controllers.name, roster.take)
    await tail.start()
    reading = asyncio.create_task(tail.run())

    def kinds() -> list[str]:
        for row in roster.rows(now_ms()):
            if row.presence.pid == pid and row.presence.faults:
                return [fault.kind for fault in row.presence.faults]
        return []

    try:
        return await until(kinds, what="a fault on the topic of controllers")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await tail.stop()


async def status_faults(settings: Settings) -> dict[int, list[str]]:
    """The kinds of fault by process, as `status` names them."""
    status = await tieline(settings, "status", "--json")
    assert status.out, status.err
    presences = [row["presence"] for row in json.loads(status.out)["controllers"]]
    return {
        presence["pid"]: [fault["kind"] for fault in presence.get("faults", ())] for presence in presences
    }


async def named(settings: Settings, process: ControllerProcess) -> list[str]:
    """The kinds of fault that this process says in time, and that `status` names."""
    pid = process.process.pid
    kinds = await faults_of(settings, pid)
    assert (await status_faults(settings))[pid] == kinds
    return kinds


Wrong = Callable[[Settings, Path], Any]


async def wrong_password(settings: Settings, _: Path) -> tuple[Settings, str]:
    url = await user(settings, "mistaken", "+@all", "~*", "&*")
    return replace(settings, redis=url.replace(":right@", ":wrong@")), ""


async def no_permission(settings: Settings, _: Path) -> tuple[Settings, str]:
    return replace(settings, redis=await user(settings, "reader", "+@read", "+@connection", "~*")), ""


async def wrong_database(settings: Settings, _: Path) -> tuple[Settings, str]:
    return replace(settings, redis=settings.redis.removesuffix("/0") + "/7"), ""


async def no_such_database(settings: Settings, _: Path) -> tuple[Settings, str]:
    return replace(settings, redis=settings.redis.removesuffix("/0") + "/7777"), ""


async def no_redis(settings: Settings, _: Path) -> tuple[Settings, str]:
    return replace(settings, redis="redis://127.0.0.1:1/0"), ""


async def slow_clock(settings: Settings, _: Path) -> tuple[Settings, str]:
    return settings, SLOW_CLOCK


async def few_descriptors(settings: Settings, _: Path) -> tuple[Settings, str]:
    return settings, FEW_DESCRIPTORS


async def other_lineage(settings: Settings, directory: Path) -> tuple[Settings, str]:
    return replace(
        settings, policy=changed_policy(directory, "lineage: multicloud-1", "lineage: multicloud-2")
    ), ""


WRONG: tuple[tuple[Wrong, str], ...] = (
    (wrong_password, "redis_password"),
    (no_permission, "redis_permission"),
    (wrong_database, "redis_database"),
    (no_such_database, "redis_database"),
    (no_redis, "redis_away"),
    (slow_clock, "clock"),
    (few_descriptors, "descriptors"),
    (other_lineage, "lineage"),
)
ONE_DATABASE_ONLY = (wrong_database, no_such_database)  # a cluster has no others, and its address names none
AT_A_TIME = 4  # as many controllers start quickly enough on two cores


async def start_wrong(fleet: Fleet, directory: Path, wrong: Wrong, kind: str) -> ControllerProcess:
    """The controller that is wrong in this way, once it has said so and nothing else."""
    settings, before_main = await wrong(fleet.settings, directory)
    log_path = directory / f"{wrong.__name__}.log"
    process = await fleet.keep(ControllerProcess(settings, log_path, main=before_main + MAIN))
    assert await faults_of(fleet.settings, process.process.pid) == [kind], wrong.__name__
    notice = await process.until_said("this controller is not fit to lead")
    assert len(notice["why"]) == 1, notice
    return process


async def test_controller_that_is_not_fit_says_so_and_takes_no_lead(
    fleet: Fleet, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """`status` names the fault of each within seconds of its start. None takes partitions, and none claims
    after the leader was killed. All of them run beside the same leader."""
    leader = await fleet.add()
    await leader.until_said("decides now")
    processes: list[ControllerProcess] = []
    is_cluster = parse_redis(fleet.settings.redis).kind == CLUSTER
    ways = [(wrong, kind) for wrong, kind in WRONG if not (is_cluster and wrong in ONE_DATABASE_ONLY)]
    for first in range(0, len(ways), AT_A_TIME):
        some = ways[first : first + AT_A_TIME]
        starting = (start_wrong(fleet, tmp_path, wrong, kind) for wrong, kind in some)
        processes += await asyncio.gather(*starting)
    named_by_status = await status_faults(fleet.settings)
    leader.signal(signal.SIGKILL)
    silent_until = time.monotonic() + 6
    await until(lambda: time.monotonic() > silent_until, what="silence for long enough to claim")
    for (wrong, kind), process in zip(ways, processes, strict=True):
        with subtests.test(wrong.__name__):
            assert named_by_status[process.process.pid] == [kind]
            assert not process.said("its claim is valid; takes over")
            assert not process.said("partitions_assigned")
            assert process.process.returncode is None


async def test_read_only_redis(fleet: Fleet, tmp_path: Path) -> None:
    """A controller whose Redis is a replica says that, and takes no lead."""
    leader = await fleet.add()
    await leader.until_said("decides now")
    async with (
        single_valkey(tmp_path / "valkey") as valkey,
        connect(valkey.url, fleet.settings.keys) as replica,
    ):
        await replica.replicaof("127.0.0.1", "1")
        settings = replace(fleet.settings, redis=valkey.url)
        other = await ControllerProcess(settings, tmp_path / "wrong.log").start()
        try:
            assert await named(fleet.settings, other) == ["redis_read_only"]
        finally:
            await other.kill()


async def test_log_on_a_full_disk(fleet: Fleet) -> None:
    """A controller whose log can't be written goes on, and says so."""
    leader = await fleet.add()
    await leader.until_said("decides now")
    other = await ControllerProcess(fleet.settings, Path("/dev/full")).start()
    try:
        assert await named(fleet.settings, other) == ["disk"]
    finally:
        await other.kill()


async def test_leader_that_loses_redis_hands_over(fleet: Fleet, tmp_path: Path) -> None:
    """The leader alone loses Redis while a standby has it: the standby leads within seconds, no weight
    changes, and the former leader gives its partitions up."""
    url = await user(fleet.settings, "leader", "+@all", "~*", "&*")
    leader = await ControllerProcess(replace(fleet.settings, redis=url), tmp_path / "first.log").start()
    try:
        await leader.until_said("decides now")
        standby = await fleet.add()
        await standby.until_said("this controller is fit to lead")
        await on_every_server(fleet.settings, "ACL", "SETUSER", "leader", "off")
        await on_every_server(fleet.settings, "CLIENT", "KILL", "USER", "leader")
        await standby.until_said("leads now")
        before, after = await handed_over(fleet)
        assert weights(after) == weights(before)
        await leader.until_said("gives up its partitions")
        await leader.until_said("stands by now")
        assert leader.process.returncode is None
    finally:
        await leader.kill()


async def test_standby_with_another_policy_file_dead_letters_nothing_that_the_policy_in_force_accepts(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Good reports about a pool that the standby's file does not have are all taken, also by the standby."""
    leader = await fleet.add()
    await leader.until_said("decides now")
    text = POLICY.read_text().replace("azure/westus3/gpt-4o", "azure/westus9/gpt-4o")
    file = tmp_path / "other.yaml"
    file.write_text(text)
    settings = replace(fleet.settings, policy=file)
    standby = await ControllerProcess(settings, tmp_path / "standby.log").start()
    try:
        await standby.until_said("its policy file is not the policy in force, which it follows")
        await standby.until_said("partitions_assigned")
        async with Producer(
            fleet.settings.kafka, prefix=fleet.settings.namespace, source="prober-us"
        ) as producer:
            for _ in range(20):
                producer.observe(PoolObservation("azure/westus3/gpt-4o"))
                producer.flush(interval_ms=1_000)
            assert await producer.drain(60)
        async with connect(fleet.settings.redis, fleet.settings.keys) as redis:
            row = "azure/westus3/prober-us"
            await until(lambda: redis.hexists(fleet.settings.keys.table("health"), row), 20, "the row")
        assert not standby.said("dead_letter")
        assert not leader.said("dead_letter")
    finally:
        await standby.kill()
