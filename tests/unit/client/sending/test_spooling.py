"""What happens to those who wait for events in the spool while Kafka is away."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.client.made_tables import Time
from tests.unit.streams.made import T0_MS, capacity, report, statement
from tieline.errors import KafkaUnavailableError, ProducerError
from tieline.events import Claim
from tieline.producer import Producer

CLAIMED = statement(1, Claim("degraded", T0_MS + 60_000))


def producer(directory: Path, time: Time, **settings: float) -> Producer:
    """One whose Kafka is away."""
    timeout_s = settings.pop("send_timeout_s", 0.05)
    return Producer("127.0.0.1:1", spool=directory, now_ms=time, send_timeout_s=timeout_s, feedback=False)


async def test_a_send_that_is_not_acknowledged_stays_in_the_spool(tmp_path: Path) -> None:
    """The error says so; a report has no such place."""
    async with producer(tmp_path, Time(T0_MS)) as sender:
        with pytest.raises(KafkaUnavailableError, match="stays in the spool"):
            await sender.send(CLAIMED)
        with pytest.raises(KafkaUnavailableError, match="did not acknowledge in time"):
            await sender.send(report(1))
        assert (sender.status.spooled, sender.status.buffered) == (1, 0)
        await sender.stop(drain_timeout_s=0)


async def test_a_newer_event_of_its_key_ends_the_wait_for_an_older_one(tmp_path: Path) -> None:
    """The older one is never sent; other keys wait on."""
    async with producer(tmp_path, Time(T0_MS), send_timeout_s=30.0) as sender:
        older = await sender.submit(CLAIMED)
        other = await sender.submit(replace(capacity(1), expires_ms=T0_MS + 60_000))
        newer = await sender.submit(replace(CLAIMED, sequence=2))
        with pytest.raises(KafkaUnavailableError, match="a newer event of the same key took its place"):
            await older
        assert not newer.done()
        assert not other.done()
        assert sender.status.spooled == 2
        await sender.stop(drain_timeout_s=0)
        for waiting in (newer, other):
            with pytest.raises(ProducerError, match="the event stays in its spool"):
                await waiting


async def test_a_producer_may_be_started_again(tmp_path: Path) -> None:
    """With what waits in its spool."""
    sender = producer(tmp_path, Time(T0_MS))
    for waiting in (1, 1):
        await sender.start()
        sender.post(CLAIMED)
        assert sender.status.spooled == waiting
        await sender.stop(drain_timeout_s=0)
