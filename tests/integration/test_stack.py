"""The embedded stack keeps its promises: real processes, real jars, real deaths."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from lab.errors import StackError
from lab.stack.cache import cache_directory
from lab.stack.class_archive import ensure_class_archive
from lab.stack.jars import Jar, ensure_jars, pinned
from lab.stack.kafka import class_archive_path
from lab.stack.stack import Stack, silent
from lab.stack.valkey import Valkey
from tests.processes import runs
from tests.waiting import until_sync

HOLDER = """
import asyncio, sys
from pathlib import Path
from lab.stack.stack import Stack

async def hold():
    stack = await Stack.start(cache=Path(sys.argv[1]))
    print(stack.kafka.pid, stack.valkey.pid, stack.directory, flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


@pytest.fixture(scope="module")
def embedded() -> Iterator[Stack]:
    """An embedded stack for these tests, whatever `--stack` chooses for others. Kafka has a class archive."""
    ensure_class_archive(ensure_jars(cache_directory(), silent), silent)
    with ThreadPoolExecutor(1) as elsewhere:
        running = elsewhere.submit(lambda: asyncio.run(Stack.start())).result()
        yield running
        elsewhere.submit(lambda: asyncio.run(running.stop())).result()


@pytest.fixture
async def own_embedded() -> AsyncIterator[Stack]:
    """An embedded stack for one test that stops, kills or pauses it."""
    async with await Stack.start() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, embedded: Stack) -> Path:
    """A cache of the test's own with copies of the jars, so that it may spoil them."""
    shutil.copytree(cache_directory() / "maven", tmp_path / "maven")
    return tmp_path


async def produce_and_read(stack: Stack, topic: str, body: bytes | None) -> list[bytes]:
    """Appends `body`, if any, and returns all that the topic holds."""
    if body is not None:
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, acks="all")
        await producer.start()
        await producer.send_and_wait(topic, body)
        await producer.stop()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=stack.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            return [(await consumer.getone()).value]
    finally:
        await consumer.stop()


async def create_topic(stack: Stack, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()


async def test_ready_when_start_returns(embedded: Stack, prefix: str) -> None:
    """Once start() returned, a topic can be created, a record read back, and a key set and got."""
    await create_topic(embedded, prefix + "ready")
    assert await produce_and_read(embedded, prefix + "ready", b"body") == [b"body"]
    async with Redis.from_url(embedded.redis_url) as redis:
        await redis.set(prefix + "key", b"value")
        assert await redis.get(prefix + "key") == b"value"


def test_kafka_takes_its_classes_from_one_file(embedded: Stack) -> None:
    """The JVM maps the file that was made for these jars; another set of jars would have another file."""
    jars = ensure_jars(cache_directory(), silent)
    archive = class_archive_path(jars)
    assert str(archive) in Path(f"/proc/{embedded.kafka.pid}/maps").read_text()
    assert class_archive_path(jars[1:]) != archive


async def test_a_second_stack_leaves_nothing_and_keeps_the_first(embedded: Stack) -> None:
    """A second stack starts beside the first. Its directory goes with it, and that of the first stays."""
    second = await Stack.start()
    pids = second.kafka.pid, second.valkey.pid
    await second.stop()
    assert not second.directory.exists()
    assert not any(map(runs, pids))
    assert (embedded.directory / "kafka" / "data").is_dir()


async def test_kafka_keeps_its_data_and_port(own_embedded: Stack, prefix: str) -> None:
    """A record survives SIGTERM and SIGKILL of Kafka, and clients find it at the same address."""
    topic, address = prefix + "kept", own_embedded.kafka_bootstrap
    await create_topic(own_embedded, topic)
    await produce_and_read(own_embedded, topic, b"first")
    await own_embedded.kafka.stop()
    assert not own_embedded.kafka.running
    await own_embedded.kafka.start()
    assert await produce_and_read(own_embedded, topic, None) == [b"first"]
    await own_embedded.kafka.kill()
    await own_embedded.kafka.start()
    assert await produce_and_read(own_embedded, topic, None) == [b"first"]
    assert own_embedded.kafka_bootstrap == address


async def test_a_directory_keeps_its_ports(cache: Path, tmp_path: Path) -> None:
    """The next stack in the same directory has the addresses that other commands were given; a port that
    another program has taken meanwhile is replaced."""
    kept = tmp_path / "kept"
    async with await Stack.start(kept, cache=cache) as first:
        addresses = (first.kafka_bootstrap, first.redis_url)
        port = first.valkey.port
    assert Valkey(kept / "valkey").url == addresses[1]
    with socket.create_server(("127.0.0.1", port)):
        async with await Stack.start(kept, cache=cache) as second:
            assert second.kafka_bootstrap == addresses[0]
            assert second.valkey.port != port


async def test_valkey_pauses_and_comes_back_empty(tmp_path: Path) -> None:
    """A paused Valkey doesn't answer and keeps its keys; a stopped one is empty at the same address."""
    valkey = Valkey(tmp_path / "valkey")
    try:
        await valkey.start()
        address = valkey.url
        async with Redis.from_url(address) as redis:
            await redis.set("key", b"value")
            valkey.pause()
            assert not await valkey.answers()
            valkey.resume()
            assert await redis.get("key") == b"value"
        await valkey.stop()
        assert not await valkey.answers()
        await valkey.start()
        async with Redis.from_url(address) as redis:
            assert await redis.get("key") is None
    finally:
        await valkey.kill()


def test_killed_parent_leaves_no_process(cache: Path) -> None:
    """SIGKILL of a stack's owner ends Kafka and Valkey; the next start removes their directory."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(cache)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        kafka, valkey, directory = holder.stdout.readline().split()
    assert runs(int(kafka))
    assert runs(int(valkey))
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    until_sync(lambda: not runs(int(kafka)) and not runs(int(valkey)), what="the end of both servers")
    assert Path(directory).is_dir()

    async def start_and_stop() -> bool:
        async with await Stack.start(cache=cache):
            return Path(directory).exists()

    assert not asyncio.run(start_and_stop())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_settings_and_ends_cleanly(
    number: signal.Signals, tmp_path: Path, embedded: Stack
) -> None:
    """`tieline stack` prints two lines for a shell, runs until asked to end, and ends without noise."""
    arguments = [sys.executable, "-m", "controller.cli", "stack", "--directory", str(tmp_path / "kept")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        settings = command.stdout.readline() + command.stdout.readline()
        said = command.stderr.readline()
        shown = subprocess.run(
            ["sh", "-c", f'{settings}env | grep -E "^TIELINE_(KAFKA|REDIS)="'],
            capture_output=True,
            text=True,
            check=True,
        )
        command.send_signal(number)
        assert command.wait(timeout=60) == 0
        assert command.stderr.read() == ""
    assert sorted(shown.stdout.splitlines()) == sorted(settings.replace("export ", "").splitlines())
    assert said.startswith("Kafka and Valkey are ready")
    assert (tmp_path / "kept" / "kafka" / "data").is_dir()


def spoil(jar: Jar, cache: Path) -> None:
    """Alters four bytes in the middle of the cached jar."""
    path = cache / "maven" / jar.path
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4])
    path.write_bytes(content)


def test_spoilt_jar_is_fetched_again(cache: Path) -> None:
    """A jar with four altered bytes is noticed before the start, reported, and replaced by the pinned one."""
    jar = next(jar for jar in pinned() if "slf4j-api" in jar.path)
    spoil(jar, cache)
    said: list[str] = []
    paths = ensure_jars(cache, said.append)
    assert cache / "maven" / jar.path in paths
    assert jar.is_intact(cache / "maven")
    assert any("slf4j-api" in line and "not the pinned jar" in line for line in said)


async def test_wrong_jar_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a spoilt jar can't be fetched again the stack doesn't start; the error names jar and remedy."""
    jar = next(jar for jar in pinned() if "kafka-clients" in jar.path)
    spoil(jar, cache)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there: as good as no network
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        StackError, match=r"kafka-clients.*cached copy is not the pinned one.*check the network"
    ):
        await Stack.start(cache=cache)
    assert not list(cache.glob("stack/stack-*"))
