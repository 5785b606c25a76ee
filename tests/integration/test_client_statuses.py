"""Each status from 400 to 599, by a pool within this process; outcomes.md says what must come of it."""

import asyncio
from typing import Any

import pytest

import tieline
from tests.integration.matrix_table import FILE, statuses
from tieline.testing import FakePools

FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
BODY = {"model": "m", "messages": [{"role": "user", "content": "Where to?"}]}
EXPECTED = statuses(FILE.read_text())


def fake(status: int) -> FakePools:
    """All weight is on a pool that answers with this status, until it is lost."""
    pools = FakePools({FAULTY: 1, OTHER: 0}, model="m", on_loss={"azure": {OTHER: 1}})
    pools.fault(FAULTY, status=status)
    return pools


def outcome(answer: Any, explained: dict[str, Any]) -> str:
    """As outcomes.md writes it, after the status that the caller got."""
    out = " out" if any(row["out"] or row["models_out"] for row in explained["pools"]) else ""
    pool = "faulty" if answer.headers["x-tieline-pool"] == FAULTY else "other"
    return f"{answer.status_code} {pool} {answer.headers['x-tieline-attempts']}{out}"


def called(status: int) -> str:
    """By a caller without asyncio."""
    with tieline.Client(fake(status), **PLACE) as client:
        assert client.ready(60)
        with client.http_client(base_url=client.base_url) as http:
            return outcome(http.post("/chat/completions", json=BODY), client.explain())


async def called_async(status: int) -> str:
    """By an asynchronous caller."""
    async with tieline.AsyncClient(fake(status), **PLACE) as client:
        assert await client.ready(60)
        async with client.http_client(base_url=client.base_url) as http:
            return outcome(await http.post("/chat/completions", json=BODY), client.explain())


def test_the_table_has_each_status_once() -> None:
    """No status is left out."""
    assert list(EXPECTED) == list(range(400, 600))


@pytest.mark.parametrize("status", EXPECTED)
def test_each_status_has_its_outcome(status: int) -> None:
    """Every caller gets the same: the other pool's answer, or this status."""
    expected = f"{200 if 'other' in EXPECTED[status] else status} {EXPECTED[status]}"
    assert (called(status), asyncio.run(called_async(status))) == (expected, expected)
