"""Kafka with TLS and SASL, Redis with TLS and a password: everything works by settings alone."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

import tieline
from controller.kafka.topics import ensure_topics
from controller.process.connections import brokers as kafka_brokers
from controller.process.connections import redis_address
from controller.process.settings import Settings
from tests.integration.controllers import FORCED, ControllerProcess
from tests.integration.controllers import tieline as run
from tests.integration.roles import grant, grant_redis, is_permitted, readable, writable
from tests.integration.secured import PASSWORD, ROLE_USERS, USER, Secured, secured
from tests.places import EXAMPLE_POLICY
from tests.waiting import until
from tieline.events import Outcomes, PoolObservation
from tieline.keys import Keys
from tieline.topics import Topics

POLICY = EXAMPLE_POLICY


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    """A Kafka and a Valkey that let nobody in without TLS and password."""
    async with secured(tmp_path_factory.mktemp("secured")) as running:
        yield running


def settings(doors: Secured, prefix: str) -> Settings:
    """As a command line without flags for security."""
    return Settings(doors.kafka, doors.redis, prefix.rstrip("."), POLICY, unsigned=True)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_controller_commands_and_client_are_let_in(
    doors: Secured, prefix: str, tmp_path: Path, mechanism: str
) -> None:
    """A controller takes events in, publishes and projects; commands read and order; a client follows and
    reports; nobody says the password."""
    given = {**doors.settings, "TIELINE_KAFKA_SASL": mechanism}
    told = settings(doors, prefix)
    controller = ControllerProcess(told, tmp_path / "controller.log", **given)
    await controller.start()
    try:
        await controller.until_said("leads now")
        await controller.until_said("partitions_assigned")
        status = await run(told, "status", **given)
        assert "generation multicloud-1:" in status.out, status.err
        drained = await run(told, "drain", "gcp", *FORCED, "--reason", "test", "--for", "1h", **given)
        assert "published as" in drained.out, drained.err
        await follow_and_report(doors, told.namespace, given)
    finally:
        await controller.kill()
    assert PASSWORD not in (tmp_path / "controller.log").read_text() + status.out + status.err


async def follow_and_report(doors: Secured, namespace: str, given: dict[str, str]) -> None:
    """As an application does."""
    context = ssl.create_default_context(cafile=doors.authorities)
    brokers = tieline.Brokers(doors.kafka, context, given["TIELINE_KAFKA_SASL"], USER, PASSWORD)
    redis = redis_address(doors.redis, given, "TIELINE_REDIS")
    async with (
        tieline.AsyncClient(
            redis, workload="chat", origin="eu", namespace=namespace, kafka=brokers
        ) as client,
        tieline.Producer(brokers, source="prober", prefix=namespace) as producer,
    ):
        await client.ready(timeout=60)
        producer.observe(PoolObservation("gcp/europe-west4/gemini-pro", Outcomes(ok=1), units=1))
        producer.flush(interval_ms=1_000)
        await until(lambda: producer.status.delivered > 0, what="a delivered report")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"TIELINE_KAFKA_PASSWORD_FILE": "", "TIELINE_KAFKA_PASSWORD": "wrong"}, "Kafka can't be read"),
        ({"TIELINE_KAFKA_CA_FILE": "", "TIELINE_KAFKA_TLS": "1"}, "Kafka can't be read"),
        ({"TIELINE_REDIS_PASSWORD_FILE": "", "TIELINE_REDIS_PASSWORD": "wrong"}, "Redis"),
    ],
)
async def test_who_is_not_let_in_is_told_so(
    doors: Secured, prefix: str, wrong: dict[str, str], says: str
) -> None:
    """One sentence, no traceback, no password."""
    ended = await run(settings(doors, prefix), "status", **{**doors.settings, **wrong})
    text = ended.out + ended.err
    assert ended.status == 2, text
    assert says in text
    assert "Traceback" not in text
    assert PASSWORD not in text


def with_certificate(doors: Secured, name: str) -> dict[str, str]:
    """What a command needs to come in by the door for certificates."""
    kafka, _ = doors.stack
    return {
        **doors.settings,
        "TIELINE_KAFKA": f"127.0.0.1:{kafka.ports[3]}",
        "TIELINE_KAFKA_SASL": "",
        "TIELINE_KAFKA_USER": "",
        "TIELINE_KAFKA_PASSWORD_FILE": "",
        "TIELINE_KAFKA_CERT_FILE": str(doors.place / name / "certificate.pem"),
        "TIELINE_KAFKA_KEY_FILE": str(doors.place / name / "key.pem"),
    }


def with_token(doors: Secured, name: str) -> dict[str, str]:
    """What a command needs to come in with a token."""
    return {
        **doors.settings,
        "TIELINE_KAFKA_SASL": "OAUTHBEARER",
        "TIELINE_KAFKA_USER": "",
        "TIELINE_KAFKA_PASSWORD_FILE": "",
        "TIELINE_KAFKA_TOKEN_FILE": str(doors.place / name),
    }


@pytest.mark.parametrize(
    ("place", "right", "wrong"), [(with_certificate, "app", "stranger"), (with_token, "token", "expired")]
)
async def test_certificates_and_tokens_let_in_who_has_the_right_one(
    doors: Secured, prefix: str, place: Callable[[Secured, str], dict[str, str]], right: str, wrong: str
) -> None:
    """A client certificate (mTLS) and a token (OAUTHBEARER) open Kafka by settings alone. With one that Kafka
    does not accept, one sentence says where to look, and nothing of the secret."""
    environment = place(doors, right)
    reached = settings(doors, prefix)
    sent = await run(replace(reached, kafka=environment["TIELINE_KAFKA"]), "status", **environment)
    assert "Kafka has no topic" in sent.err, sent.err  # so it was let in
    environment = place(doors, wrong)
    ended = await run(replace(reached, kafka=environment["TIELINE_KAFKA"]), "status", **environment)
    assert ended.status == 2, ended.out
    assert "Kafka can't be read" in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert (doors.place / "expired").read_text() not in ended.out + ended.err


class Door(NamedTuple):
    """A port of Kafka, the files that are shown and trusted there, and what is wrong with that."""

    number: int
    files: dict[str, str]
    why: str
    remedy: str


DOORS = {
    "another authority": Door(
        2,
        {"CA": "app/certificate.pem"},
        why="no authority that is trusted here has signed its certificate",
        remedy="with the certificate of its authority in TIELINE_KAFKA_CA_FILE",
    ),
    "expired": Door(
        5,
        {"CA": "expired-server.pem"},
        why="its certificate has expired",
        remedy="renew it at the server",
    ),
    "another host": Door(
        6,
        {"CA": "elsewhere.pem"},
        why="its certificate is for another host",
        remedy="name the server in TIELINE_KAFKA as the certificate does",
    ),
    "no client certificate": Door(
        3,
        {"CA": "certificate.pem"},
        why="it asks for a client certificate",
        remedy="in TIELINE_KAFKA_CERT_FILE",
    ),
    "another client's certificate": Door(
        3,
        {"CA": "certificate.pem", "CERT": "stranger/certificate.pem", "KEY": "stranger/key.pem"},
        why="it asks for a client certificate",
        remedy="in TIELINE_KAFKA_CERT_FILE",
    ),
}


@pytest.mark.parametrize("name", DOORS)
async def test_a_certificate_that_is_refused_is_named_with_the_remedy(
    doors: Secured, prefix: str, name: str
) -> None:
    """By commands that read and that order, by a controller at its start, and by a producer."""
    door = DOORS[name]
    kafka = f"127.0.0.1:{doors.stack[0].ports[door.number]}"
    files = {f"TIELINE_KAFKA_{kind}_FILE": str(doors.place / file) for kind, file in door.files.items()}
    without = dict.fromkeys(("TIELINE_KAFKA_SASL", "TIELINE_KAFKA_USER", "TIELINE_KAFKA_PASSWORD_FILE"), "")
    environment = {**doors.settings, **without, **files, "TIELINE_KAFKA": kafka}
    reached = replace(settings(doors, prefix), kafka=kafka)
    commands = (("status",), ("drain", "gcp", *FORCED, "--reason", "test", "--for", "1h"), ("controller",))
    for command in commands:
        ended = await run(reached, *command, **environment)
        text = " ".join((ended.out + ended.err).split())
        assert ended.status != 0, text
        assert door.why in text, text
        assert door.remedy in text, text
        assert "Traceback" not in text
    brokers = kafka_brokers(kafka, environment, "TIELINE_KAFKA")
    async with tieline.Producer(brokers, source="prober", prefix=prefix) as producer:
        await until(lambda: door.why in producer.status.error, what=f"the reason {door.why!r}")


READS: dict[str, set[str]] = {
    "producer": {"routes", "deadletter"},
    "collector": {"routes", "deadletter", "statements"},
    "client": set(),
    "notifier": {"history"},
}
WRITES: dict[str, set[str]] = {
    "producer": {"reports", "statements", "capacity", "offers"},
    "collector": {"reports", "statements", "capacity", "offers"},
    "client": {"demand"},
    "sharing_client": {"demand"},
    "web": {"demand"},
    "notifier": set(),
    "operator": {"commands", "deadletter"},
}


async def test_each_role_has_its_rights_at_kafka_and_no_others(doors: Secured, prefix: str) -> None:
    """By a real authorizer: nobody but controllers can write routes, claims, decisions or history; a client
    writes demand and reads nothing; producers write evidence; and a controller writes and reads all."""
    kafka, _ = doors.stack
    topics = Topics(prefix.rstrip("."))
    names = {topic.name.removeprefix(prefix): topic.name for topic in topics.all()}
    await ensure_topics(kafka.bootstrap, topics)
    await grant(kafka, topics.prefix)
    assert await writable(kafka, "controller", topics) == set(names.values())
    for role, allowed in WRITES.items():
        assert await writable(kafka, role, topics) == {names[name] for name in allowed}, role
    for role, allowed in READS.items():
        assert await readable(kafka, role, topics) == {names[name] for name in allowed}, role
    assert await readable(kafka, "controller", topics) == set(names.values())


async def test_each_role_has_its_rights_at_redis_and_no_others(doors: Secured, prefix: str) -> None:
    """By real ACLs: a client reads the table and the overlay and writes neither; an operator writes the
    overlay and no table; nobody reaches another namespace, changes users or empties the server."""
    _, valkey = doors.stack
    keys = Keys(prefix.rstrip("."))
    other = Keys("elsewhere")
    async with Redis(port=valkey.port, password=PASSWORD) as root:
        await grant_redis(root, keys.namespace)
    readers = {"client", "sharing_client", "web", "operator", "controller"}
    rows: list[tuple[tuple[str, ...], set[str]]] = [
        (("HGETALL", keys.routes), readers),
        (("GET", keys.overlay), readers),
        (("HGETALL", keys.table("demand")), {"web", "operator", "controller"}),
        (("HSET", keys.routes, "manifest", "forged"), {"controller"}),
        (("HSET", keys.table("health"), "field", "forged"), {"controller"}),
        (("SET", keys.overlay, "x"), {"operator", "controller"}),
        (("SET", keys.adoption, "x"), {"operator", "controller"}),
        (("PUBLISH", keys.routes_hint, "x"), {"controller"}),
        (("PUBLISH", keys.overlay_hint, "x"), {"operator", "controller"}),
        (("PUBLISH", keys.tables_hint, "x"), {"controller"}),
        (("HSET", keys.holders, "digest", "pool"), {"sharing_client", "controller"}),
        (("EVAL", "return 1", "1", keys.holders), {"sharing_client", "controller"}),
        (("CLUSTER", "INFO"), readers),
        (("CLUSTER", "SLOTS"), readers),
        (("HGETALL", other.routes), set()),
        (("FLUSHALL",), set()),
        (("ACL", "LIST"), set()),
        (("CONFIG", "GET", "*"), set()),
        (("KEYS", "*"), set()),
    ]
    for role in sorted(readers):
        async with Redis(port=valkey.port, username=ROLE_USERS[role], password=PASSWORD) as redis:
            for command, roles in rows:
                assert await is_permitted(redis, *command) == (role in roles), (role, command)
