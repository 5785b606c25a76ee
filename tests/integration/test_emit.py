"""`tieline emit` against a real Kafka, as an operator types it."""

import asyncio
import sys

import pytest

from controller.kafka.topics import ensure_topics
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
    out, complaints = await asyncio.wait_for(child.communicate(text.encode()), 60)
    return child.returncode or 0, out.decode(), complaints.decode()


async def test_what_was_sent_is_said_with_its_place(kafka_bootstrap: str, prefix: str) -> None:
    """Flags or standard input, one line for each record: topic, partition, offset."""
    await ensure_topics(kafka_bootstrap, Topics(prefix))
    flags = ("health", "--source", "me", "--pool", "azure/eastus/a", "--pool", "azure/eastus/b", "--ok", "3")
    status, out, _ = await emit(kafka_bootstrap, prefix, *flags)
    assert status == 0
    assert out.startswith(f"{prefix}.reports partition ")
    assert out.endswith("offset 0: health of azure/eastus (2 pools) from me\n")
    text = "source: quota\npools: [{pool: a/b/c, limit_units_per_s: 5}, {pool: a/d/e, limit_units_per_s: 6}]"
    status, out, _ = await emit(kafka_bootstrap, prefix, "capacity", "--file", "-", text=text)
    assert status == 0
    assert out.count(f"{prefix}.capacity partition ") == 2


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
