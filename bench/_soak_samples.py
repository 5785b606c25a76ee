"""What one moment of the installation looks like, from Linux, Redis and Kafka's directory."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp

from lab.children import Child
from lab.demo.observer import GrowingFile
from tieline.topics import MIB

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ESTABLISHED = "01"
MONITOR_WITHIN_S = 5.0
Moment = dict[tuple[str, str], float]


class Logs:
    """Bytes and lines that each process has written, counted as its log grows."""

    def __init__(self) -> None:
        self._files: dict[str, GrowingFile] = {}
        self._totals: dict[str, tuple[int, int]] = {}

    def read(self, children: Mapping[str, Child]) -> Moment:
        """What each has written so far."""
        moment: Moment = {}
        for name, child in children.items():
            file = self._files.setdefault(name, GrowingFile(child.log))
            size, lines = self._totals.get(name, (0, 0))
            while block := file.new_lines():
                size, lines = size + len(block), lines + block.count(b"\n")
            self._totals[name] = (size, lines)
            moment[name, "log"], moment[name, "log lines"] = size / MIB, float(lines)
        return moment


def processes(children: Mapping[str, Child]) -> Moment:
    """Memory, descriptors, threads and connections of each, with its own children: a controller's solver is
    one. A process that has ended is left out."""
    tree = _children_by_parent()
    moment: Moment = {}
    for name, child in children.items():
        figures = [_of_process(pid) for pid in _descendants(child.pid, tree)]
        for measure in ("memory", "descriptors", "threads", "connections"):
            if figures and figures[0]:
                moment[name, measure] = sum(figure.get(measure, 0.0) for figure in figures)
    return moment


def _children_by_parent() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = defaultdict(list)
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of a program stands in parentheses, and may have spaces.
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        tree[parent].append(int(place.parent.name))
    return tree


def _descendants(pid: int, tree: Mapping[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in tree.get(pid, ()):
        yield from _descendants(child, tree)


def _of_process(pid: int) -> dict[str, float]:
    place = Path("/proc") / str(pid)
    try:
        resident = int((place / "statm").read_text().split()[1]) * PAGE_BYTES / MIB
        names = [_target(entry) for entry in (place / "fd").iterdir()]
        threads = sum(1 for _ in (place / "task").iterdir())
    except OSError:
        return {}
    sockets = sum(name.startswith("socket:") for name in names)
    return {
        "memory": resident,
        "descriptors": float(len(names)),
        "threads": float(threads),
        "connections": float(sockets),
    }


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def connections_to(port: int) -> float:
    """Connections that are established at this local port of the machine."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            count += state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return float(count)


def topics(kafka_data: Path) -> Moment:
    """MiB of each topic's records on the disk; those that Kafka keeps for itself are left out."""
    sizes: dict[str, float] = defaultdict(float)
    for segment in kafka_data.glob("*-*/*.log"):
        topic = segment.parent.name.rpartition("-")[0]
        if not topic.startswith("__"):
            try:
                sizes[topic] += segment.stat().st_size / MIB
            except OSError:
                continue  # it was deleted a moment ago
    return {(topic, "topic"): size for topic, size in sizes.items()}


async def redis_side(url: str) -> Moment:
    """Memory, keys and connections of Redis, by its own word. Each sample has a connection of its own,
    because an incident drops them all; nothing is sampled while it does."""
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    try:
        async with Redis.from_url(url) as redis:
            report = await redis.info()
            keys = await redis.dbsize()
    except RedisError:
        return {}
    return {
        ("redis", "redis memory"): report["used_memory"] / MIB,
        ("redis", "redis keys"): float(keys),
        ("redis", "redis connections"): float(report["connected_clients"]),
    }


async def series(http: aiohttp.ClientSession, monitors: Mapping[str, str]) -> Moment:
    """How many series each process tells at its ``/metrics``; one that does not answer is left out."""
    moment: Moment = {}
    for name, address in monitors.items():
        try:
            limit = aiohttp.ClientTimeout(total=MONITOR_WITHIN_S)
            async with http.get(f"http://{address}/metrics", timeout=limit) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            continue
        moment[name, "series"] = float(sum(not line.startswith("#") for line in text.splitlines()))
    return moment
