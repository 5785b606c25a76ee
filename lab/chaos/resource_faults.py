"""Processes run out of file descriptors, memory and room on the disk.

The limits of a running process are lowered (``prlimit``): then it can open nothing more, map nothing more, or
write nothing more. A calling process gets a small disk of its own for its last good table.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene, process_state
from lab.chaos.process_faults import ANSWERED
from lab.stack.server import LOOPBACK

WITHIN_S = 60.0
LASTS_S = 6.0
YIELDED = Promise("another controller leads", 15.0)
SMALL_DISK = "16k"


def _limit(pid: int, which: int, most: int) -> tuple[int, int]:
    """Lowers the soft limit of a process. Returns what it was."""
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (most, before[1]))
    return before


@contextmanager
def _limited(pid: int, which: int, most: int) -> Iterator[None]:
    """The soft limit of a process is lowered for a while."""
    before = _limit(pid, which, most)
    try:
        yield
    finally:
        resource.prlimit(pid, which, before)


def _limits_line(pid: int, name: str) -> str:
    """What the kernel says of a limit."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return " ".join(next(line for line in lines if line.startswith(name)).split()[:4])


def _mapped_bytes(pid: int) -> int:
    """How much of its address space a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _leader_without_descriptors(scene: Scene) -> None:
    name = scene.leader()
    pid = scene.world.controllers[name].pid
    with _limited(pid, resource.RLIMIT_NOFILE, _descriptors(pid)):
        limit = _limits_line(pid, "Max open files")
        await _another_leads(scene, f"{name}, which led: {limit}, {_descriptors(pid)} are open")


async def _leader_without_disk(scene: Scene) -> None:
    """No file may grow: temporary files, and the log of the controller itself."""
    name = scene.leader()
    pid = scene.world.controllers[name].pid
    with _limited(pid, resource.RLIMIT_FSIZE, 0):
        await _another_leads(scene, f"{name}, which led: {_limits_line(pid, 'Max file size')} bytes")


async def _another_leads(scene: Scene, proof: str) -> None:
    """Under the fault that is proved so, another controller leads and answers."""
    scene.prove(proof)
    scene.measure(YIELDED.what, await scene.until_next_epoch(WITHIN_S))
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _leader_without_memory(scene: Scene) -> None:
    """It may map nothing more; it ends or goes on, and whoever leads answers."""
    name = scene.leader()
    child = scene.world.controllers[name]
    before = _limit(child.pid, resource.RLIMIT_AS, _mapped_bytes(child.pid))
    scene.prove(f"{name}, which led: {_limits_line(child.pid, 'Max address space')} bytes, all in use")
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))
    await scene.last(LASTS_S)
    state = process_state(child.pid) if child.running else "gone"
    scene.prove(f"{name} is {state} afterwards")
    if state == "gone":
        await scene.world.start_controller(name)
    else:
        resource.prlimit(child.pid, resource.RLIMIT_AS, before)


async def _kafka_without_descriptors(scene: Scene) -> None:
    """It can take no connection; where it can't open a file that it needs, it ends itself."""
    pid = scene.world.kafka.pid
    before = _limit(pid, resource.RLIMIT_NOFILE, _descriptors(pid))
    words = f"Kafka: {_limits_line(pid, 'Max open files')}, {_descriptors(pid)} were open"
    await _kafka_goes_on_or_ends(scene, words, resource.RLIMIT_NOFILE, before=before)


async def _kafka_without_memory(scene: Scene) -> None:
    """It may map nothing more, so it can start no thread and open no segment."""
    pid = scene.world.kafka.pid
    before = _limit(pid, resource.RLIMIT_AS, _mapped_bytes(pid))
    words = f"Kafka: {_limits_line(pid, 'Max address space')} bytes, all in use"
    await _kafka_goes_on_or_ends(scene, words, resource.RLIMIT_AS, before=before)


async def _kafka_goes_on_or_ends(scene: Scene, words: str, which: int, *, before: tuple[int, int]) -> None:
    """For some seconds; then the limit is taken back, or Kafka is started again."""
    kafka = scene.world.kafka
    await scene.last(LASTS_S)
    if kafka.running:
        scene.prove(f"{words}; it went on")
        resource.prlimit(kafka.pid, which, before)
    else:
        scene.prove(f"{words}; it ended itself")
        await kafka.start()
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _kafka_without_disk(scene: Scene) -> None:
    """Kafka ends itself when it can't write its log; it is started again."""
    kafka = scene.world.kafka
    pid = kafka.pid
    _limit(pid, resource.RLIMIT_FSIZE, 4_096)
    line = _limits_line(pid, "Max file size")
    took_s = await scene.until(lambda: not kafka.running, WITHIN_S, "the end of Kafka")
    scene.prove(f"Kafka: {line} bytes; it ended itself after {took_s:.1f} s")
    await scene.last(LASTS_S)
    if not scene.answered_since(scene.began_ms):
        raise ChaosError("no request was answered without Kafka")
    await kafka.start()
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _client_without_disk(scene: Scene) -> None:
    """A calling process whose last good table has no room; it serves as before."""
    place = scene.world.directory / "last-good"
    mount = f'mount -t tmpfs -o size={SMALL_DISK} tmpfs "{place}" && head -c 64k /dev/zero > "{place}/full"'
    life = next(life for life, caller in scene.world.callers.items() if caller.running)
    number = int(life.removeprefix("app-").split(".")[0]) - 1
    await scene.world.callers[life].stop()
    scene.recorder.lives[life].killed = True
    new = await scene.world.start_caller(
        number, "unshare", "--mount", "--map-root-user", "sh", "-c", f'{mount}; exec "$@"', "caller"
    )
    recorded = scene.recorder.lives[new]
    await scene.until(lambda: recorded.answered_since(0), WITHIN_S, "an answer")
    inside = Path(f"/proc/{scene.world.callers[new].pid}/root{place}")
    sizes = {path.name: path.stat().st_size for path in inside.iterdir()}
    scene.prove(f"the disk of {new} holds {sizes} of {SMALL_DISK}, on {LOOPBACK}")
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))
    newest = scene.recorder.newest
    assert newest is not None
    await scene.until_clients_have(newest.generation, WITHIN_S)


FAULTS = (
    ChaosFault(
        "leader-out-of-descriptors",
        "the leader can open no file and no connection more",
        _leader_without_descriptors,
        promises=(YIELDED, ANSWERED),
    ),
    ChaosFault(
        "leader-disk-full",
        "the leader can write to no file",
        _leader_without_disk,
        promises=(YIELDED, ANSWERED),
    ),
    ChaosFault(
        "leader-out-of-memory",
        "the leader gets no more memory",
        _leader_without_memory,
        promises=(ANSWERED,),
        calm_within_s=90,
    ),
    ChaosFault(
        "kafka-out-of-descriptors",
        "Kafka can open no file and take no connection more, for 6 s",
        _kafka_without_descriptors,
        promises=(ANSWERED,),
    ),
    ChaosFault(
        "kafka-out-of-memory",
        "Kafka gets no more memory for 6 s",
        _kafka_without_memory,
        promises=(ANSWERED,),
        calm_within_s=90,
    ),
    ChaosFault(
        "kafka-disk-full",
        "Kafka can't write its log, and ends itself",
        _kafka_without_disk,
        promises=(ANSWERED,),
        calm_within_s=90,
    ),
    ChaosFault(
        "client-disk-full",
        "a client has no room for its last good table",
        _client_without_disk,
        promises=(ANSWERED,),
    ),
)
