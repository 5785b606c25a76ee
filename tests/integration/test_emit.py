"""`tieline emit` against a real Kafka, as an operator types it."""

import asyncio
import json
import sys

import pytest

from tests.integration.replicated import create_topics
from tieline.topics import Topics

EMIT = [sys.executable, "-m", "controller.cli", "emit"]


async def emit(bootstrap: str, prefix: str, *words: str, text: str = "") -> tuple[int, str, str]:
    """Exit status, output, complaints."""
    command = [*EMIT, *words, "--kafka", bootstrap, "--namespace", prefix]
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await asyncio.wait_for(child.communicate(text.encode()), 240)
    return child.returncode or 0, out.decode(), complaints.decode()


async def test_what_was_sent_is_said_with_its_place(kafka_bootstrap: str, prefix: str) -> None:
    """Flags or standard input, one line for each record: topic, partition, offset."""
    await create_topics(kafka_bootstrap, Topics(prefix))
    flags = ("health", "--source", "me", "--pool", "azure/eastus/a", "--pool", "azure/eastus/b", "--ok", "3")
    status, out, _ = await emit(kafka_bootstrap, prefix, *flags)
    assert status == 0
    assert out.startswith(f"{prefix}.reports partition ")
    assert out.endswith("offset 0: health of azure/eastus (2 pools) from me\n")
    text = "source: quota\npools: [{pool: a/b/c, limit_units_per_s: 5}, {pool: a/d/e, limit_units_per_s: 6}]"
    status, out, _ = await emit(kafka_bootstrap, prefix, "capacity", "--file", "-", text=text)
    assert status == 0
    assert out.count(f"{prefix}.capacity partition ") == 2


async def test_lines_from_standard_input_go_at_the_pace_of_kafka(kafka_bootstrap: str, prefix: str) -> None:
    """All good lines are on Kafka, the bad ones are named by their numbers, and the status says so."""
    await create_topics(kafka_bootstrap, Topics(prefix))
    good = '{"type": "report.v1", "pools": [{"pool": "azure/eastus/a", "outcomes": {"ok": 1}}]}'
    lines = [good] * 2_000
    lines[10], lines[1_500] = "{", good.replace("azure/eastus/a", "azure")
    status, out, complaints = await emit(
        kafka_bootstrap, prefix, "-", "--source", "me", "--json", text="\n".join(lines)
    )
    report = json.loads(out)
    assert (status, report["lines"], report["sent"], report["refused"]) == (1, 2_000, 1_998, 2)
    assert [entry["line"] for entry in report["refused_lines"]] == [11, 1_501]
    assert "line 11: it is not JSON" in complaints
    assert "line 1501: field pools[0].pool" in complaints
    status, _, complaints = await emit(kafka_bootstrap, prefix, "-", "--dry-run", text=good)
    assert status == 1
    assert complaints.endswith("required field source.\n1 lines: 0 are well-formed, 1 refused.\n")


async def test_lines_without_kafka_end_after_the_time_given(unused_tcp_port: int, prefix: str) -> None:
    """What could not be sent is named, and nothing more is read."""
    good = '{"type": "report.v1", "pools": [{"pool": "azure/eastus/a", "outcomes": {"ok": 1}}]}\n'
    words = ("-", "--source", "me", "--give-up-after-s", "0.1")
    status, _, complaints = await emit(f"127.0.0.1:{unused_tcp_port}", prefix, *words, text=good * 3)
    assert status == 1
    assert "did not acknowledge in time" in complaints
    assert "Kafka took no more, so nothing behind line 3 was read." in complaints


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("capacity", "--source", "me", "--pool", "a/b/c"), 2, "missing required field limit_units_per_s"),
        (("health", "--source", "me", "--pool", "a/b/c", "--ok", "-1"), 2, "field pools[0].outcomes.ok"),
        (("health", "--source", "me"), 2, "Name at least one --pool"),
        (("health", "--source", "me", "--pool", "a/b/c"), 1, "Kafka at"),
    ],
)
async def test_a_mistake_is_one_sentence(
    kafka_bootstrap: str, prefix: str, words: tuple[str, ...], status: int, said: str
) -> None:
    """Status 2 for the input, 1 for Kafka (here: topics that nobody made), and never a traceback."""
    given, out, complaints = await emit(kafka_bootstrap, prefix, *words)
    assert (given, out) == (status, "")
    assert said in complaints
    assert "Traceback" not in complaints
