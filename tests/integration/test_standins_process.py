"""The life of a stand-in process: killed, stopped, orphaned, run by the command, publishing to Kafka."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from lab.errors import ChildError
from lab.standins.config import KafkaConfig
from lab.standins.process import StandinProcess
from tests.integration.replicated import create_topics
from tests.integration.standins_calls import (
    KEYED,
    LONG_TOKENS,
    POOL,
    call,
    client,
    config,
    logged,
    seen_of,
)
from tests.processes import runs
from tests.waiting import until
from tieline import cloudevents
from tieline.events import Capacity
from tieline.topics import Topics

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_sigkill_loses_no_line(tmp_path: Path) -> None:
    """Every request that a caller saw answered is in the log as ok; one under way is there as in flight.

    A second life comes back on the same ports and goes on with the same log.
    """
    process = await StandinProcess.spawn(config(tmp_path))
    async with process, client() as http:
        url, answers = process.url(POOL), {}

        async def ask(request_id: str) -> None:
            answers[request_id] = await call(http, url, request_id=request_id, stream=True)

        async with asyncio.TaskGroup() as group:
            under_way = group.create_task(call(http, url, request_id="long", stream=True, tokens=LONG_TOKENS))
            await logged(process, "long", "in_flight")
            tasks = [group.create_task(ask(f"r-{index}")) for index in range(150)]
            await asyncio.wait(tasks[:20])
            os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert under_way.result() in {"cut", "reset"}
        seen = {attempt.id: attempt.outcome for attempt in seen_of(process)}
        succeeded = {request_id for request_id, answer in answers.items() if answer == "ok"}
        assert len(succeeded) >= 20
        assert {seen[request_id] for request_id in succeeded} == {"ok"}
        assert seen["long"] == "in_flight"
        async with await StandinProcess.spawn(process.config_as_run) as second:
            assert second.ports == process.ports
            assert await call(http, url, request_id="second-life") == "ok"
        assert {attempt.id for attempt in seen_of(process)} >= {"long", "second-life", *succeeded}


async def test_a_stop_is_orderly(tmp_path: Path) -> None:
    """SIGTERM ends it with status 0 within seconds; requests that hang are cut, and the log says so."""
    process = await StandinProcess.spawn(config(tmp_path))
    async with client() as http:
        await process.fault("hang")
        hanging = asyncio.create_task(call(http, process.url(POOL), request_id="hanging", timeout_s=20))
        await logged(process, "hanging", "in_flight")
        assert await process.stop() == 0
        assert await hanging in {"cut", "reset"}
    assert [attempt.outcome for attempt in seen_of(process)] == ["stopped"]


async def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A stand-in whose parent is killed is gone within seconds, however the parent died."""
    script = (
        "import asyncio, sys, msgspec\n"
        "from lab.standins.config import StandinConfig\n"
        "from lab.standins.process import StandinProcess\n"
        "async def main():\n"
        "    config = msgspec.json.decode(sys.argv[1], type=StandinConfig)\n"
        "    process = await StandinProcess.spawn(config)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, msgspec.json.encode(config(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert runs(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not runs(pid), what="the orphan's end")


async def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    """A stand-in that can't listen ends, and the error says why."""
    first = await StandinProcess.spawn(config(tmp_path / "first"))
    clash = msgspec.structs.replace(first.config_as_run, log_dir=str(tmp_path / "second"))
    async with first:
        with pytest.raises(
            ChildError, match=r"^the stand-in azure/uksouth ended with status 2 .*[Aa]ddress already in use"
        ):
            await StandinProcess.spawn(clash)


async def test_the_command_serves_a_file_until_it_is_told_to_end(tmp_path: Path) -> None:
    """`tieline standins FILE` prints where each pool is, serves, and ends with status 0 at SIGTERM."""
    file = tmp_path / "standins.json"
    file.write_bytes(msgspec.json.encode({"processes": [config(tmp_path / "log")]}))
    status, lines = 0, []
    command = await run_command(file)
    assert command.stdout is not None
    async with client() as http:
        lines = [(await command.stdout.readline()).decode().split() for _ in range(3)]
        assert [line[0] for line in lines] == [POOL, KEYED, "azure/uksouth"]
        assert await call(http, lines[0][1]) == "ok"
        command.terminate()
        status = await command.wait()
    assert status == 0
    assert not runs(int(lines[2][1].removeprefix("pid=")))


async def test_the_command_names_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    """A wrong file is one sentence on standard error and exit status 1."""
    file = tmp_path / "standins.yaml"
    file.write_text("provider: azure\n")
    command = await run_command(file)
    _, errors = await command.communicate()
    assert command.returncode == 1
    assert errors.decode().startswith(f"tieline standins: {file}: Object missing required field")
    assert len(errors.splitlines()) == 1


async def run_command(file: Path) -> asyncio.subprocess.Process:
    """The command, as the entry points of the lab add it to `tieline`."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "controller.cli", "standins", str(file))
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)


async def test_capacity_is_published_at_once_and_on_change(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """One record holds all pools of the process; a change follows without waiting for the interval.

    Records carry the process's own incarnation, rising sequences, and an expiry.
    """
    topics = Topics(prefix.rstrip("."))
    await create_topics(kafka_bootstrap, topics)
    kafka = KafkaConfig(kafka_bootstrap, topic_prefix=topics.prefix, source="fleet", interval_s=60)
    consumer = AIOKafkaConsumer(
        topics.capacity.name, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with await StandinProcess.spawn(config(tmp_path, kafka=kafka)) as process:
            first = await next_capacity(consumer)
            await process.capacity(factor=0.5, pools=[POOL])
            second = await next_capacity(consumer)
    finally:
        await consumer.stop()
    assert {row.pool: row.limit_units_per_s for row in first.pools} == {POOL: 1e6, KEYED: 1e6}
    assert {row.pool: row.limit_units_per_s for row in second.pools} == {POOL: 5e5, KEYED: 1e6}
    assert (first.source, first.provider, first.region) == ("fleet", "azure", "uksouth")
    assert first.incarnation == second.incarnation
    assert first.sequence < second.sequence
    assert first.expires_ms == first.issued_ms + 180_000


async def next_capacity(consumer: AIOKafkaConsumer) -> Capacity:
    """The next record of the capacity topic, decoded as every reader decodes it."""
    async with asyncio.timeout(60):
        record = await consumer.getone()
    event = cloudevents.decode(record.headers, record.value)
    assert isinstance(event, Capacity)
    return event
