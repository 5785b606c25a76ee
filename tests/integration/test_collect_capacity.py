"""Collectors of capacity over real HTTP: no hostile, slow or missing answer makes a capacity smaller."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.collect.capacity.dcgm import Dcgm, GpuPool
from controller.collect.capacity.kubernetes import Kubernetes, PodGroup
from controller.collect.capacity.model_servers import ModelServers, ServedPool
from controller.collect.capacity.prometheus import Prometheus, Query
from controller.collect.capacity.provider_quotas import AzureUsages, GoogleQuotas, OracleLimits
from controller.collect.capacity.quotas import Quota
from controller.collect.collector import Collected, Collector
from controller.collect.fetching import Fetcher
from controller.collect.watching import WatchRounds
from controller.process import clock
from controller.process.secret_places import SecretPlace
from lab.stack.server import free_ports
from tests.integration.clusters import ClusterServer
from tests.integration.collecting import FeedServer, Served, Taken, rounds_of
from tests.waiting import until
from tieline.events import Capacity
from tools import prometheus

POOL = "coreweave/us-east-04/gpt-oss"
TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
WELL = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 0\n"
HOSTILE = [
    Served(status=500),
    Served(headers={"Content-Type": "text/html"}, body=b"<html>all is well</html>"),
    Served(headers=TEXT, body=b"vllm:num_requests_wai"),
    Served(headers={**TEXT, "Content-Length": "5000"}, chunks=(WELL,)),
    Served(headers=TEXT, body=b"vllm:num_requests_waiting 1\n" * 10_000),
    Served(headers=TEXT, body=b"vllm:num_requests_waiting{" + b"\xff" * 100 + b"} 1\n"),
    Served(headers=TEXT, body=b"vllm:num_requests_waiting NaN\nvllm:num_requests_running many\n"),
    Served(headers=TEXT, hangs=True),
    Served(headers=TEXT, chunks=(b"vllm:num_requests_running 1\n",) * 100, pause_s=0.1),
    Served(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
]


def limits(events: list[Collected]) -> list[float]:
    """The limit of the pool in each event."""
    return [
        pool.limit_units_per_s
        for event in events
        if isinstance(event, Capacity)
        for pool in event.pools
        if pool.pool == POOL
    ]


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with FeedServer(default=Served(headers=TEXT, body=WELL)).listening() as server:
        yield server


def servers(url: str, **more: Any) -> ModelServers:
    """A pool with two replicas, /1 and /2."""
    pool = ServedPool(pool=POOL, replicas=(f"{url}/1", f"{url}/2"), units_per_s_per_replica=1_000.0)
    fields = {"timeout_s": 0.5, "body_max_bytes": 100_000, **more}
    return ModelServers(name="fleet", pools=(pool,), **fields)


async def once(collector: Collector) -> tuple[str, list[Collected]]:
    """Why one round failed, and its events."""
    async with rounds_of(collector) as (rounds, fetcher, taken):
        await rounds.round(fetcher)
        return rounds.trouble, taken.events


@pytest.mark.parametrize("served", HOSTILE)
async def test_a_replica_that_is_not_read_counts_as_the_others(server: FeedServer, served: Served) -> None:
    """And if none can, nothing is stated."""
    server.answers["/1"] = served
    trouble, events = await once(servers(server.url, timeout_s=2.0))
    assert (trouble, limits(events)) == ("", [2_000.0])
    server.answers["/2"] = served
    trouble, events = await once(servers(server.url))
    assert (bool(trouble), events) == (True, [])


def kinds(url: str) -> list[Collector]:
    """A collector of every kind, all of which read from one server."""
    common: dict[str, Any] = {"name": "fleet", "timeout_s": 0.5, "body_max_bytes": 100_000}
    group = PodGroup(pool=POOL, labels={"app": "gpt"}, units_per_s_per_replica=100.0)
    gpus = GpuPool(pool=POOL, nodes=(url,), units_per_s_per_replica=100.0)
    query = Query(preset="deployment_replicas", pools={"gpt-oss": POOL})
    quotas: dict[str, Any] = {"url": url, "provider": "coreweave", "quotas": (Quota(quota="tpm", pool=POOL),)}
    return [
        servers(url),
        Dcgm(pools=(gpus,), **common),
        Prometheus(url=url, queries=(query,), **common),
        Kubernetes(url=url, namespace="llm", pods=(group,), **common),
        AzureUsages(**quotas, **common),
        GoogleQuotas(**quotas, **common),
        OracleLimits(**quotas, **common),
    ]


@pytest.mark.parametrize("number", range(7))
async def test_no_hostile_answer_states_anything(server: FeedServer, number: int) -> None:
    """Whatever the kind, and whether the answer claims to be JSON or text: no event, and a sentence why."""
    collector = kinds(server.url)[number]
    bodies = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"0",
        b"{" * 50_000,
        b'{"value": [',
        b"\xff\xfe",
        b"x" * 200_000,
        b"\n" * 9,
    ]
    claims = [{"Content-Type": kind} for kind in ("application/json", "text/plain", "text/html")]
    bomb = gzip.compress(bytes(50_000_000))
    answers = [Served(headers=claim, body=body) for claim in claims for body in bodies]
    answers += [Served(headers={**claim, "Content-Encoding": "gzip"}, body=bomb) for claim in claims]
    for served in (*answers, *HOSTILE):
        server.default = served
        trouble, events = await once(collector)
        assert (bool(trouble), events) == (True, []), served


async def test_no_replica_is_reached_at_an_address_that_is_not_named(server: FeedServer) -> None:
    """A name that leads to loopback; named, it is reached."""
    url = server.url.replace("127.0.0.1", "localhost")
    trouble, events = await once(servers(url))
    assert ("not a public address" in trouble, events, server.requests) == (True, [], [])
    named = servers(url, addresses=("127.0.0.1", "::1"), timeout_s=30.0)
    assert limits((await once(named))[1]) == [2_000.0]


async def test_a_fatal_error_of_a_gpu_takes_its_replica_out(server: FeedServer) -> None:
    """One of two nodes is silent, and counts."""
    server.answers["/1"] = Served(
        headers=TEXT,
        body=b"".join(b'DCGM_FI_DEV_XID_ERRORS{UUID="%d"} %d\n' % (gpu, 79 * (gpu == 3)) for gpu in range(8)),
    )
    server.answers["/2"] = Served(status=503)
    pool = GpuPool(
        pool=POOL,
        nodes=(f"{server.url}/1", f"{server.url}/2"),
        gpus_per_replica=4,
        units_per_s_per_replica=100.0,
    )
    assert limits((await once(Dcgm(name="fleet", pools=(pool,))))[1]) == [300.0]


async def test_an_hour_of_rounds_does_not_fill_the_memory(server: FeedServer) -> None:
    """240 rounds of two replicas, each round another hostile answer or a good one with new labels."""
    kinds = [served for served in HOSTILE if not served.hangs and not served.pause_s]
    seen = 0

    def respond(_: Any) -> Served:
        nonlocal seen
        seen += 1
        if seen % 3 == 0:
            return kinds[seen // 3 % len(kinds)]
        text = b'vllm:num_requests_running{x="%d"} 1\nvllm:prompt_tokens_total %d\n' % (seen, seen)
        return Served(headers=TEXT, body=text + b'junk{x="%d"} 1\n' % seen * 50)

    server.respond = respond
    async with rounds_of(servers(server.url, timeout_s=30.0)) as (rounds, fetcher, taken):
        tracemalloc.start()
        try:
            sizes = []
            for number in range(240):
                await rounds.round(fetcher)
                taken.events.clear()
                server.requests.clear()
                if number in (60, 239):
                    sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert sizes[1] - sizes[0] < 500_000


async def test_a_real_prometheus_answers_queries(server: FeedServer, tmp_path: Path) -> None:
    """The preset for replicas, by the label, as the HTTP API writes it; and a query that it refuses."""
    server.default = Served(
        headers=TEXT,
        body=b'kube_deployment_status_replicas_ready{deployment="gpt-oss",namespace="llm"} 3\n'
        b'kube_deployment_status_replicas_ready{deployment="web",namespace="llm"} 9\n',
    )
    config = tmp_path / "prometheus.yaml"
    targets = [{"targets": [server.url.removeprefix("http://")]}]
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [{"job_name": "kube", "static_configs": targets}],
            }
        )
    )

    def asking(**more: Any) -> Prometheus:
        query = Query(pools={"gpt-oss": POOL}, times=100.0, **more)
        return Prometheus(name="fleet", url=url, queries=(query,))

    async with prometheus.running(config, tmp_path, free_ports(1)[0]) as url:

        async def events() -> list[Collected]:
            return (await once(asking(preset="deployment_replicas")))[1]

        assert limits(await until(events, what="what Prometheus scraped")) == [300.0]
        trouble, nothing = await once(asking(query="sum by (", label="deployment"))
        assert ("HTTP 400" in trouble, nothing) == (True, [])
        trouble, nothing = await once(asking(query="absent(nothing)", label="deployment"))
        assert ("no query gives" in trouble, nothing) == (True, [])


async def test_quotas_come_over_http_or_in_a_file(server: FeedServer, tmp_path: Path) -> None:
    """Of the same JSON. A file that nobody has written for long is not read, nor one that is too large."""
    usage = [{"name": {"value": "tpm"}, "limit": 60, "currentValue": 0}]
    body = json.dumps({"value": usage}).encode()
    server.default = Served(body=body)
    file = tmp_path / "usages.json"

    def quota(url: str, **more: Any) -> AzureUsages:
        entry = Quota(quota="tpm", pool=POOL, units=1_000)
        return AzureUsages(name="quota", url=url, provider="coreweave", quotas=(entry,), **more)

    token = tmp_path / "token"
    token.write_text("secret\n")
    assert limits((await once(quota(server.url, bearer=SecretPlace(file=str(token)))))[1]) == [1_000.0]
    assert server.requests[-1][1]["Authorization"] == "Bearer secret"
    assert "No such file" in (await once(quota(file.as_uri())))[0]
    file.write_bytes(body)
    now_s = 1_800_000_000
    for written_s, expected in ((now_s - 100, [1_000.0]), (now_s - 5_000, [])):
        os.utime(file, (written_s, written_s))
        trouble, events = await once(quota(file.as_uri()))
        assert (limits(events), "was not written" in trouble) == (expected, not expected)
    file.write_bytes(b" " * 2_000)
    os.utime(file, (now_s, now_s))
    assert "more than 1024 bytes" in (await once(quota(file.as_uri(), body_max_bytes=1_024)))[0]


def pod(name: str, ready: str = "True", node: str = "a") -> dict[str, Any]:
    """A pod of the pool."""
    return {
        "metadata": {"name": name, "labels": {"app": "gpt"}},
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def node(name: str, ready: str = "True") -> dict[str, Any]:
    """A node."""
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


@asynccontextmanager
async def watching(cluster: ClusterServer, tmp_path: Path) -> AsyncIterator[tuple[WatchRounds, Taken]]:
    """A running collector of a cluster, once both of its watches are open."""
    token = tmp_path / "token"
    token.write_text("one")
    group = PodGroup(pool=POOL, labels={"app": "gpt"}, units_per_s_per_replica=100.0)
    collector = Kubernetes(
        name="fleet",
        url=cluster.url,
        namespace="llm",
        pods=(group,),
        interval_s=1.0,
        timeout_s=20.0,
        bearer=SecretPlace(file=str(token)),
    )
    taken = Taken()
    rounds = WatchRounds(collector, taken, environment={}, now_ms=clock.now_ms, chance=lambda: 0.1)
    running = asyncio.create_task(rounds.run())
    try:
        await until(cluster.watched, what="both watches")
        yield rounds, taken
    finally:
        running.cancel()
        await asyncio.wait({running})


def cluster_of(pods: int) -> ClusterServer:
    """A cluster with so many pods that are ready, on two nodes, listed in pages of two."""
    items = {"pods": [pod(str(number)) for number in range(pods)], "nodes": [node("a"), node("b")]}
    return ClusterServer(items=items, page_items=2)


async def test_a_cluster_is_listed_in_pages_and_watched(tmp_path: Path) -> None:
    """Each change of pods and nodes is stated; the watch goes on from the last version, bookmarks included;
    and the token is read anew."""
    async with cluster_of(5).listening() as cluster, watching(cluster, tmp_path) as (_, taken):
        first = await until(lambda: limits(taken.events), what="the first capacity")
        assert first[0] == 500.0
        assert [query.get("continue") for name, query in cluster.lists if name == "pods"] == [None, "2", "4"]
        cluster.tell("pods", "ADDED", pod("new"))
        await until(lambda: limits(taken.events)[-1] == 600.0, what="the new pod")
        cluster.tell("pods", "DELETED", pod("0"))
        cluster.tell("pods", "MODIFIED", pod("1", "False"))
        await until(lambda: limits(taken.events)[-1] == 400.0, what="two pods less")
        cluster.tell("nodes", "MODIFIED", node("a", "False"))
        await until(lambda: limits(taken.events)[-1] == 0.0, what="the node that says that it is not ready")
        cluster.tell("nodes", "MODIFIED", node("a", "Unknown"))
        await until(lambda: limits(taken.events)[-1] == 500.0, what="a cluster that does not hear its nodes")
        (tmp_path / "token").write_text("two")
        cluster.tell("pods", "BOOKMARK", {"kind": "Pod", "metadata": {}})
        version = str(cluster.version)
        cluster.send("pods", None)
        await until(lambda: sum(name == "pods" for name, _ in cluster.watches) == 2, what="the next watch")
        queries = [query for name, query in cluster.watches if name == "pods"]
        assert [query["resourceVersion"] for query in queries] == ["100", version]
        assert (cluster.tokens[0], cluster.tokens[-1]) == ("Bearer one", "Bearer two")
        assert len([name for name, _ in cluster.lists if name == "nodes"]) == 1


@pytest.mark.parametrize("by_event", [True, False])
async def test_a_version_that_is_gone_asks_for_a_new_list(tmp_path: Path, by_event: bool) -> None:
    """As an event of the watch, or as the status of the next one; that is no failure."""
    async with cluster_of(2).listening() as cluster, watching(cluster, tmp_path) as (rounds, taken):
        cluster.items["pods"].append(pod("missed"))
        if by_event:
            cluster.tell("pods", "ERROR", {"kind": "Status", "code": 410, "message": "too old"})
        else:
            cluster.gone = True
            cluster.send("pods", None)
        await until(lambda: limits(taken.events)[-1] == 300.0, what="the new list")
        cluster.gone = False
        await until(cluster.watched, 20, "both watches")
        assert rounds.failures == 0


@pytest.mark.parametrize(
    "line",
    [
        b"<html>\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "NEW", "object": {}}\n',
        b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "7"}}}\n',
    ],
)
async def test_a_cluster_that_fails_states_nothing(tmp_path: Path, line: bytes) -> None:
    """A hostile line ends the watch, and while lists fail nothing is stated; then it goes on."""
    async with cluster_of(2).listening() as cluster, watching(cluster, tmp_path) as (rounds, taken):
        cluster.broken = True
        cluster.send("pods", line)
        await until(lambda: rounds.failures >= 2, what="failures")
        count = len(taken.events)
        assert rounds.trouble == "HTTP 500"
        cluster.broken = False
        await until(lambda: not rounds.trouble, what="the next good list")
        assert limits(taken.events[count:])[0] == 200.0


async def test_a_look_at_a_cluster_is_one_list(tmp_path: Path) -> None:
    """As `--once` does it; a fault of the token fails the round."""
    async with cluster_of(3).listening() as cluster:
        group = PodGroup(pool=POOL, labels={"app": "gpt"}, units_per_s_per_replica=100.0)
        collector = Kubernetes(name="fleet", url=cluster.url, namespace="llm", pods=(group,))
        taken, fetcher = Taken(), Fetcher(collector)
        await WatchRounds(collector, taken, environment={}).round(fetcher)
        await fetcher.close()
        assert (limits(taken.events), cluster.watches) == ([300.0], [])
