"""Producers of about forty lines, in Go and JavaScript with the clients that people use there, and in Python:
what they send becomes a row, and what is wrong with it becomes a dead letter.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from controller.cli import main
from streams.rows import Row
from tests.integration.ingesting import Lab, lab
from tests.places import EXAMPLES
from tests.waiting import until
from tieline.events import Outcomes, Report
from tieline.kafka import brokers_of
from tieline.registration import Registry, SourceRule
from tools.toolchains import go, node, node_packages

PRODUCERS = EXAMPLES / "producers"
POOL = "azure/swedencentral/gpt-4o"
LANGUAGES = ("go", "javascript", "python")
REGISTRY = Registry(
    frozenset({"azure"}), {name: SourceRule("probe") for name in LANGUAGES}, frozenset({POOL})
)
BUILD_MAX_S = 400
SEND_MAX_S = 240


async def run(command: list[str | Path], *, within_s: float, **settings: str) -> str:
    """What a program prints, on both streams. It must end well."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(child.communicate(), within_s)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, out.decode()
    return out.decode()


async def built(directory: Path) -> dict[str, list[str | Path]]:
    """The command of each producer. Raises NoToolchainError."""
    program = directory / "producer"
    source: list[str | Path] = ["-C", PRODUCERS / "go", "build", "-trimpath", "-buildvcs=false"]
    build = [go(), *source, "-o", program]
    await run(build, within_s=BUILD_MAX_S)
    packages = await asyncio.to_thread(node_packages, PRODUCERS / "javascript")
    return {
        "go": [program],
        "javascript": [node(), packages / "producer.mjs"],
        "python": [sys.executable, PRODUCERS / "python" / "producer.py"],
    }


@pytest.mark.timeout(BUILD_MAX_S + 200)  # where nothing is built yet, Go's own library is compiled first
async def test_what_producers_of_other_languages_send_is_taken(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registered source's report becomes its row. That of a stranger lies among the dead letters, and says
    why. `tieline contract verify` finds nothing wrong with any of them."""
    commands = await built(tmp_path)
    async with lab(kafka_bootstrap, redis_url, prefix) as it, it.ingest(registry=REGISTRY):
        settings = {"TIELINE_KAFKA": kafka_bootstrap, "TIELINE_NAMESPACE": prefix}
        for name, command in commands.items():
            for source in (name, f"stranger-{name}"):
                said = await run(command, within_s=SEND_MAX_S, **settings, SOURCE=source)
                assert f"{prefix}.reports partition " in said
        rows = await until(lambda: rows_of(it), what="a row of each producer")
        assert {row.event.source for row in rows} == set(LANGUAGES)
        for row in rows:
            assert isinstance(row.event, Report)
            [observation] = row.event.pools
            assert (observation.pool, observation.outcomes) == (POOL, Outcomes(ok=19, server_error=1))
            assert observation.first_token_p50_ms == 210.0

        async def letters() -> list[ConsumerRecord]:
            letters = await it.dead_letters()
            return letters if len(letters) >= len(LANGUAGES) else []

        for letter in await until(letters, what="a dead letter of each stranger"):
            headers = dict(letter.headers)
            assert headers["tieline_reason"] == b"unknown_source"
            assert headers["tieline_place"].startswith(b"source stranger-")
        records = await all_of(it, it.settings.topics.reports.name)
    file = tmp_path / "records.ndjson"
    file.write_text("".join(line_of(record) for record in records))
    assert len(records) == 2 * len(LANGUAGES)
    assert main(["contract", "verify", str(file)]) == 0, capsys.readouterr().out


async def rows_of(it: Lab) -> tuple[Row, ...]:
    """The rows of reports, once there is one of each producer."""
    rows = tuple((await it.tables.read()).reports)
    return rows if len(rows) >= len(LANGUAGES) else ()


async def all_of(it: Lab, topic: str) -> list[ConsumerRecord]:
    """Every record of a topic, from all of its partitions."""
    consumer = brokers_of(it.settings.bootstrap).consumer(
        enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, number) for number in range(it.settings.topics.reports.partitions)
        ]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        records: list[ConsumerRecord] = []
        while any([await consumer.position(place) < ends[place] for place in partitions]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


def line_of(record: ConsumerRecord) -> str:
    """The record as `tieline contract verify` reads it."""
    fields = {
        "topic": record.topic,
        "key": record.key.decode(),
        "headers": [[name, text.decode()] for name, text in record.headers],
        "value_base64": base64.b64encode(record.value).decode(),
    }
    return json.dumps(fields) + "\n"
