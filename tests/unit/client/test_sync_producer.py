"""The synchronous producer without a Kafka: threads share it, and it ends as it began."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tieline
from tests.unit.streams.made import observation, report, statement
from tieline import ConfigurationError, Producer, ProducerClosedError, SyncProducer
from tieline._sync_producer import ProducerSettings
from tieline.events import Claim

NOWHERE = "127.0.0.1:1"
FORKS = """
import json, os, sys
import tieline
from tieline.events import PoolObservation
producer = tieline.SyncProducer("127.0.0.1:1", source="probe-1", buffer_events_max=5)
producer.start()
reading, writing = os.pipe()
child = os.fork()
producer.observe(PoolObservation("azure/eu/a"))
(report,) = producer.flush(interval_ms=1_000)
seen = [report.incarnation, producer.incarnation, producer.status.buffered]
producer.stop(drain_timeout_s=0)
if child == 0:
    os.write(writing, json.dumps(seen).encode())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([seen, json.loads(os.read(reading, 1_000))]))
"""


def named_threads() -> list[threading.Thread]:
    """The background threads of the library."""
    return [thread for thread in threading.enumerate() if thread.name == "tieline"]


def test_threads_share_one_producer() -> None:
    """Whatever they post is counted once, and the background thread ends with it."""
    with SyncProducer(NOWHERE, source="probe-1", buffer_events_max=1_000) as producer:
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda number: producer.post(statement(number)), range(200)))
        producer.observe(observation(ok=1))
        assert len(producer.flush(interval_ms=1_000)) == 1
        assert producer.status.buffered + producer.status.dropped_expired == 201
        assert not producer.drain(0)
        producer.stop(drain_timeout_s=0)
    assert named_threads() == []


def test_before_and_after_it_runs_it_takes_nothing() -> None:
    """It says what to do."""
    producer = SyncProducer(NOWHERE)
    with pytest.raises(ProducerClosedError, match="use `with`, or start"):
        producer.post(report(1))
    producer.start()
    producer.stop(drain_timeout_s=0)
    with pytest.raises(ProducerClosedError):
        producer.send(report(1))


def test_a_spool_that_another_uses_is_told_at_the_start(tmp_path: Path) -> None:
    """And leaves no thread behind; what was posted stays for the next one."""
    with SyncProducer(NOWHERE, spool=tmp_path) as producer:
        assert producer.post(statement(1, Claim("degraded", 4_000_000_000_000)))
        with pytest.raises(ConfigurationError, match="another process uses it"):
            SyncProducer(NOWHERE, spool=tmp_path).start()
        assert len(named_threads()) == 1
        producer.stop(drain_timeout_s=0)
    with SyncProducer(NOWHERE, spool=tmp_path) as producer:
        assert producer.status.spooled == 1
        producer.stop(drain_timeout_s=0)


def test_a_child_process_begins_anew() -> None:
    """With an incarnation of its own, or the two would take each other's sequences for late ones."""
    same_library = {**os.environ, "PYTHONPATH": str(Path(tieline.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    ran = subprocess.run(command, check=True, capture_output=True, timeout=300, env=same_library)
    parent, child = json.loads(ran.stdout)
    for incarnation, current, buffered in (parent, child):
        assert (incarnation, buffered) == (current, 1)
    assert parent[0] != child[0]


def test_it_takes_the_settings_of_the_other_producer() -> None:
    """All of them, and no others."""
    settings = set(inspect.signature(Producer.__init__).parameters) - {"self", "bootstrap"}
    assert set(ProducerSettings.__annotations__) == settings
