"""An installation whose processes have the rights of `tieline acls` and no others, against a Kafka with an
authorizer and a Valkey with ACL users, and whether any of its secrets shows."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis.asyncio import Redis

import tieline
from controller.process.connections import redis_address
from controller.process.private_key import write_new_private_key
from controller.process.settings import Settings
from lab.stack.server import LOOPBACK
from tests.integration.controllers import FORCED, ControllerProcess, Ended
from tests.integration.controllers import tieline as command
from tests.integration.notified import Sink
from tests.integration.roles import as_role, grant, grant_redis
from tests.integration.secured import PASSWORD, ROLE_USERS, Secured, secured
from tests.places import EXAMPLE_POLICY
from tests.waiting import until
from tieline.order_signing import encode_public_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESPACE = "rights"
PROBED = "oci/us-chicago-1/gpt-oss"
POOL_URL = "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com/openai/v1"
WEB_TOKEN, HOOK_SECRET = "token-of-the-web-47fd1c02", "secret-of-the-hook-93be5a11"
POOL_SECRET, SINK_SECRET = "secret-of-the-pool-6c18e7d9", "secret-of-the-sink-0af2b384"
COLLECTORS = """
webhook:
  listen: 127.0.0.1:0
  hooks:
    - kind: alertmanager
      name: status-azure
      secret: {env: HOOK_SECRET}
"""
TARGETS = """
targets:
  - name: sink
    kind: webhook
    url: %s
    authorization: {env: SINK_SECRET}
    events: [order]
"""
# The first process creates the topics, and the others read what the second one publishes.
STARTED = {"ingesting controller": "partitions_assigned", "deciding controller": "decides now"}
PAGES = (
    *("/", "/page/main.js", "/sign-in", "/v1/status", "/v1/table/chat"),
    "/live/events",
)
ALERT = {
    "version": "4",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "Down",
                "severity": "critical",
                "provider": "azure",
                "region": "swedencentral",
            },
            "annotations": {},
            "fingerprint": "f1",
        }
    ],
}


@dataclass
class Installation:
    """Its processes by role, and what its commands have printed. ``keys``: the texts of private keys."""

    doors: Secured
    settings: Settings
    processes: dict[str, ControllerProcess]
    sink: Sink
    keys: list[str]
    printed: list[Ended]

    async def operator(self, *words: str) -> Ended:
        """One command of an operator's."""
        ended = await command(self.settings, *words, **as_role(self.doors, "operator"))
        self.printed.append(ended)
        return ended

    async def web(self, path: str) -> str:
        """What the web answers; of a stream its first piece. It says 503 until it has read what it shows."""
        url = (await self.processes["web"].until_said("listening"))["url"] + path

        async def answered() -> str:
            async with (
                aiohttp.ClientSession(headers={"authorization": f"Bearer {WEB_TOKEN}"}) as http,
                http.get(url) as answer,
            ):
                if answer.status == 503:
                    return ""
                assert answer.status == 200, (path, answer.status)
                is_stream = answer.content_type == "text/event-stream"
                return (await answer.content.readany()).decode() if is_stream else await answer.text()

        return await until(answered, what=f"an answer to {path}")

    async def push(self) -> int:
        """An alert for the collector; the status of its answer."""
        url = (await self.processes["collector"].until_said("listening"))["url"] + "/v1/hooks/status-azure"
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {HOOK_SECRET}"}) as http,
            http.post(url, json=ALERT) as answer,
        ):
            return answer.status


def inside(key: Path) -> str:
    """What is secret of a file in PEM: what stands between its first and its last line."""
    return "".join(key.read_text().splitlines()[1:-1])


def files(place: Path, sink: str) -> None:
    """Keys, the policy, which binds the prober to its key, and the files of the processes."""
    signing = write_new_private_key(place / "controller.key")
    source = write_new_private_key(place / "source.key")
    public = signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (place / "controllers.pub").write_bytes(public)
    line = encode_public_key(source.public_key().public_bytes_raw())
    prober = '{id: prober, kind: probe, vantage: eu-west, scope: "*"'
    text = EXAMPLE_POLICY.read_text()
    assert prober in text
    assert POOL_URL in text
    text = text.replace(POOL_URL, "http://127.0.0.1:1/v1")  # nobody listens there
    (place / "policy.yaml").write_text(text.replace(prober, f"{prober}, public_keys: [{line}]"))
    (place / "collectors.yaml").write_text(COLLECTORS)
    (place / "targets.yaml").write_text(TARGETS % sink)
    (place / "tokens").write_text(f"{WEB_TOKEN}\n")
    (place / "pool").write_text(f"{POOL_SECRET}\n")


def commands(place: Path) -> dict[str, tuple[str, tuple[str, ...], dict[str, str]]]:
    """By name: the role of a process, its command, and what it is told beside the addresses."""
    keys = {"TIELINE_SIGNING_KEY_FILE": str(place / "controller.key")}
    prober = {
        "TIELINE_SOURCE_KEY_FILE": str(place / "source.key"),
        "TIELINE_CREDENTIAL_OCI_FILE": str(place / "pool"),
    }
    probing = ("probe", "--source", "prober", "--pool", PROBED, "--interval-ms", "1000")
    serving = ("web", "--listen", "127.0.0.1:0", "--tokens", str(place / "tokens"))
    collecting = ("collect", str(place / "collectors.yaml"))
    notifying = ("notify", str(place / "targets.yaml"))
    return {
        "ingesting controller": ("controller", ("controller", "--role", "ingest"), keys),
        "deciding controller": ("controller", ("controller", "--role", "decide"), keys),
        "prober": ("producer", probing, prober),
        "collector": ("collector", collecting, {"HOOK_SECRET": HOOK_SECRET}),
        "web": ("web", serving, {}),
        "notifier": ("notifier", notifying, {"SINK_SECRET": SINK_SECRET}),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """One that signs its tables and binds its prober to a key: two controllers, which share the work, a
    prober, a collector with a webhook, the web and notifications."""
    place = tmp_path_factory.mktemp("rights")
    async with AsyncExitStack() as closing:
        doors = await closing.enter_async_context(secured(place))
        kafka, valkey = doors.stack
        await grant(kafka, NAMESPACE)
        async with Redis(port=valkey.port, password=PASSWORD) as root:
            await grant_redis(root, NAMESPACE)
        sink = await closing.enter_async_context(Sink().listening())
        files(place, sink.url)
        settings = Settings(
            f"{LOOPBACK}:{kafka.ports[4]}",
            doors.redis,
            NAMESPACE,
            policy=place / "policy.yaml",
            unsigned=True,
            controller_keys=place / "controllers.pub",
        )
        processes = {}
        for name, (role, words, more) in commands(place).items():
            log = place / f"{name.replace(' ', '-')}.log"
            process = ControllerProcess(settings, log, *words, **as_role(doors, role), **more)
            closing.push_async_callback(process.kill)
            processes[name] = process
            await process.start()
            if event := STARTED.get(name):
                await process.until_said(event)
        keys = [inside(place / "controller.key"), inside(place / "source.key")]
        yield Installation(doors, settings, processes, sink, keys=keys, printed=[])


async def test_every_process_works_with_the_rights_of_its_role(installation: Installation) -> None:
    """Evidence of the prober, which must sign, and a pushed alert reach Redis; a client follows signed tables
    and reports; the web serves both; an operator's order and overlay take effect, and notifications tell of
    the order. Nobody is refused anything."""
    doors = installation.doors
    environment = as_role(doors, "client")
    brokers = tieline.Brokers(
        environment["TIELINE_KAFKA"],
        ssl.create_default_context(cafile=doors.authorities),
        "PLAIN",
        username=ROLE_USERS["client"],
        password=PASSWORD,
    )
    async with tieline.AsyncClient(
        redis_address(doors.redis, environment, "TIELINE_REDIS"),
        workload="chat",
        origin="eu",
        namespace=NAMESPACE,
        kafka=brokers,
        controller_keys=[doors.place / "controllers.pub"],
    ) as client:
        assert await client.ready(timeout=60), client.status
        await until(lambda: client.status.state == "live", what="a client that follows")

        async def is_pushed() -> bool:
            return await installation.push() == 202

        await until(is_pushed, what="an alert that was taken")
        drained = await installation.operator("drain", "gcp", *FORCED, "--reason", "test", "--for", "1h")
        assert "published as" in drained.out, drained.err
        await until(lambda: installation.sink.kinds() >= {"order"}, what="the notification of the order")

        async def shown() -> bool:
            """Everybody's word is in what an operator is shown."""
            ended = await installation.operator("status", "--json")
            if ended.status == 2:  # a server did not answer in time
                return False
            pools = {row["pool"] for row in json.loads(ended.out)["overview"]["pools"]}
            return PROBED in pools and json.loads(ended.out)["clients"] is not None

        await until(shown, what="the state of everything")
        assert '"generation"' in await installation.web("/v1/status")
        assert client.status.error == ""
    await until_in_redis(installation, "health", b"prober")
    await until_in_redis(installation, "statements", b"status-azure")
    await until_in_redis(installation, "demand", b"")
    for role, process in installation.processes.items():
        assert process.process.returncode is None, (role, process.text()[-2_000:])
        for sign in ("Authorization", "NOPERM", "NoPermission", "permission"):
            assert sign not in process.text(), (role, sign, process.text()[-3_000:])


async def until_in_redis(installation: Installation, table: str, source: bytes) -> None:
    """A row of this table of evidence, by this source."""
    _, valkey = installation.doors.stack
    async with Redis(port=valkey.port, password=PASSWORD) as root:

        async def is_there() -> bool:
            fields = await root.hkeys(installation.settings.keys.table(table))
            return any(source in field for field in fields)

        await until(is_there, what=f"{source!r} in the table {table}")


async def test_no_secret_shows_anywhere(installation: Installation) -> None:
    """Not in the list of processes, in any log, in what commands print, in what the web answers or in what it
    streams to the page: no password, token, secret of a hook, a pool or a target, and no private key."""
    key = installation.doors.place / "overlay.key"
    write_new_private_key(key)
    words = ("overlay", "exclude", "oci", "--for", "5m", "--reason", "test", "--key", str(key))
    excluded = await installation.operator(*words)
    assert "written to Redis" in excluded.out, excluded.err
    looked = await installation.operator("doctor")
    assert "WRONG   kafka" not in looked.out
    assert "WRONG   redis" not in looked.out
    texts = {f"command {number}": ended.out + ended.err for number, ended in enumerate(installation.printed)}
    for path in PAGES:
        texts[path] = await installation.web(path)
    for name, process in installation.processes.items():
        texts[f"log of the {name}"] = process.text()
        line = Path(f"/proc/{process.process.pid}/cmdline").read_bytes()
        assert b"tieline" in line or b"controller.cli" in line
        texts[f"command line of the {name}"] = line.decode()
    secrets = (PASSWORD, WEB_TOKEN, HOOK_SECRET, POOL_SECRET, SINK_SECRET, inside(key), *installation.keys)
    for place, text in texts.items():
        assert not [secret for secret in secrets if secret in text], place
