"""The emergency overlay through the real ways to a client: Redis, the HTTP endpoint, a file, a restart."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import tieline
from controller.process.clock import now_ms
from controller.process.settings import Settings
from tests.integration.controllers import Fleet, settings_of
from tests.integration.controllers import tieline as command
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, publisher, table
from tests.integration.test_web import TOKEN, web
from tests.stacks import RealStack
from tests.waiting import until
from tieline.overlay import Overlay, sign
from tieline.redis_client import connect

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
POOLS = (pool_info(A, "http://127.0.0.1:1/v1"), pool_info(B, "http://127.0.0.1:2/v1"))
NOTED = "Redis has an emergency overlay"
RESTORED = "the emergency overlay was put back into Redis, which had lost it"
BOTH = table(POOLS, (500_000, 500_000))


class Keys(NamedTuple):
    """Files, as the documentation says to make them."""

    private: Path
    public: Path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    openssl = shutil.which("openssl")
    assert openssl is not None, "the test makes keys as the documentation says: with openssl"
    made = Keys(tmp_path / "overlay.key", tmp_path / "overlay.pub")
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", made.private], check=True)
    subprocess.run([openssl, "pkey", "-in", made.private, "-pubout", "-out", made.public], check=True)
    return made


@pytest.fixture
def settings(kafka_bootstrap: str, redis_url: str, prefix: str) -> Settings:
    return settings_of(kafka_bootstrap, redis_url, prefix)


def client(source: str | Path, settings: Settings, **more: Any) -> tieline.AsyncClient:
    """A client of this test's namespace."""
    return tieline.AsyncClient(source, workload=WORKLOAD, origin=ORIGIN, namespace=settings.namespace, **more)


def goes_to(one: tieline.AsyncClient, *pools: str) -> Callable[[], bool]:
    """Whether its picks go to just these."""

    def look() -> bool:
        found = [one.pick(MODEL) for _ in range(4)]
        return {route.pool for route in found if isinstance(route, tieline.Route)} == set(pools)

    return look


async def order(settings: Settings, *arguments: str) -> str:
    """`tieline overlay ...` that must succeed; what it printed."""
    ended = await command(settings, "overlay", *arguments)
    assert ended.status == 0, ended.err
    return ended.out


async def test_through_redis_and_back(settings: Settings, keys: Keys) -> None:
    """Clients leave the excluded provider at once; one without keys goes on and says that it refused; a
    withdrawal ends it."""
    why = ("--reason", "on fire", "--key", str(keys.private))
    async with publisher(settings.redis, settings.namespace) as tables:
        await tables.publish(BOTH)
        async with (
            client(settings.redis, settings, overlay_keys=[keys.public]) as careful,
            client(settings.redis, settings) as keyless,
        ):
            assert await careful.ready(60), careful.status
            assert await keyless.ready(60), keyless.status
            said = await order(settings, "exclude", "azure", "--for", "30m", "--actor", "eve", *why)
            assert "excludes azure" in said
            await until(goes_to(careful, B), what="azure left")
            assert careful.status.overlay in said
            assert careful.explain()["overlay"]["reason"] == "on fire"
            await until(lambda: "no overlay_keys" in keyless.status.overlay_error, what="the refusal said")
            assert goes_to(keyless, A, B)()
            shown = await order(settings, "show", "--public-key", str(keys.public))
            assert "by eve" in shown
            assert "signature is good" in shown
            await order(settings, "withdraw", *why)
            await until(goes_to(careful, A, B), what="azure back")
        await tables.connection.delete(tables.keys.overlay)


async def test_through_the_http_endpoint(
    settings: Settings, keys: Keys, kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """The same for a client that never sees Redis, and over a table that comes later."""
    async with web(settings.redis, kafka_bootstrap, prefix, tmp_path) as rig:
        await rig.tables.publish(BOTH)
        async with client(rig.url, settings, token=TOKEN, overlay_keys=[keys.public]) as one:
            assert await one.ready(60), one.status
            await order(settings, "exclude", A, "--reason", "x", "--key", str(keys.private))
            await until(goes_to(one, B), what="the pool left")
            await rig.tables.publish(table(POOLS, (900_000, 100_000), seq=2))
            assert await one.wait_for("l1:1:2", 60), one.status
            assert goes_to(one, B)()
        await rig.tables.connection.delete(rig.tables.keys.overlay)


async def test_through_a_file_and_over_a_restart(settings: Settings, keys: Keys, tmp_path: Path) -> None:
    """Without Redis and Kafka: a file beside the client. The last good file keeps it, so that a restart does
    not send to what is excluded."""
    file, last_good = tmp_path / "overlay.json", tmp_path / "routes.bin"
    more: dict[str, Any] = {"overlay_keys": [keys.public], "last_good": last_good}
    async with publisher(settings.redis, settings.namespace) as tables:
        await tables.publish(BOTH)
        async with client(settings.redis, settings, overlay=file, **more) as one:
            assert await one.ready(60), one.status
            assert goes_to(one, A, B)()
            arguments = ("--no-redis", "--out", str(file), "--reason", "x", "--key", str(keys.private))
            await order(settings, "exclude", "gcp/europe-west4", *arguments)
            await until(goes_to(one, A), what="the region left")
    async with client("redis://127.0.0.1:1", settings, **more) as one:
        assert not await one.ready(0.05)
        assert goes_to(one, A)()
        assert one.status.overlay


async def test_mistakes_are_said_and_nothing_is_issued(
    settings: Settings, keys: Keys, tmp_path: Path
) -> None:
    """A mistyped scope, too long a time, a key that is none, nowhere to put it: one line, and no overlay."""
    good = ("--reason", "x", "--key", str(keys.private))
    keys.public.chmod(0o600)
    async with publisher(settings.redis, settings.namespace) as tables:
        await tables.publish(BOTH)
        for arguments, words in (
            (("exclude", "azur", *good), "did you mean azure?"),
            (("exclude", "azure", "--for", "5h", *good), "at most 4h"),
            (
                ("exclude", "azure", "--reason", "x", "--key", str(keys.public)),
                "is not an unencrypted Ed25519 private key",
            ),
            (("exclude", "azure", "--no-redis", *good), "--no-redis needs --out FILE"),
            (("exclude", "not a scope", "--unknown", *good), "SCOPE is not valid"),
        ):
            ended = await command(settings, "overlay", *arguments)
            assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
            assert words in ended.err
        assert await tables.connection.get(tables.keys.overlay) is None
        assert await order(settings, "show") == "there is no overlay\n"


async def test_controllers_put_the_overlay_back_after_a_flush(
    own_stack: RealStack, keys: Keys, tmp_path: Path
) -> None:
    """A Redis that loses everything gets the newest overlay again within seconds, and a withdrawal stays
    one; status and explain say what is excluded."""
    settings = settings_of(own_stack.kafka_bootstrap, own_stack.redis_url, "keeper.")
    why = ("--reason", "on fire", "--actor", "eve", "--key", str(keys.private))
    async with Fleet(settings, tmp_path) as fleet, connect(settings.redis, settings.keys) as redis:
        controller = await fleet.add()
        await controller.until_said("decides now")
        await order(settings, "exclude", "azure", "--for", "30m", *why)
        for words in (("status",), ("explain", "azure/eastus2/gpt-4o")):
            shown = await command(settings, *words)
            assert "emergency overlay excludes azure for" in " ".join(shown.out.split()), (
                shown.out + shown.err
            )
            assert "by eve: on fire" in shown.out
        stored = await redis.get(settings.keys.overlay)
        await controller.until_said(NOTED)
        await redis.flushall()
        await controller.until_said(RESTORED)
        assert await redis.get(settings.keys.overlay) == stored
        await order(settings, "withdraw", *why)
        withdrawal = await redis.get(settings.keys.overlay)
        await controller.until_said(NOTED, times=2)
        await redis.flushall()
        await controller.until_said(RESTORED, times=2)
        assert await redis.get(settings.keys.overlay) == withdrawal


async def test_a_forged_overlay_blocks_no_true_one(settings: Settings, keys: Keys) -> None:
    """Redis holds an overlay from the future that another key signed: a true one replaces it, and says so. A
    later one of the same key still refuses an earlier one."""
    key = Ed25519PrivateKey.generate()
    own = load_pem_private_key(keys.private.read_bytes(), None)
    assert isinstance(own, Ed25519PrivateKey)
    later_ms = now_ms() + 60_000
    forged = Overlay(
        "ov-forged",
        settings.namespace,
        (),
        issued_ms=later_ms,
        expires_ms=later_ms + 60_000,
        actor="x",
        reason="y",
    )
    exclude = ("exclude", "azure", "--unknown", "--reason", "test", "--key", str(keys.private))
    async with connect(settings.redis, settings.keys) as redis:
        await redis.set(settings.keys.overlay, sign(forged, key))
        assert "replaces ov-forged" in await order(settings, *exclude)
        await redis.set(settings.keys.overlay, sign(forged, own))
        ended = await command(settings, "overlay", *exclude)
    assert ended.status == 2
    assert "issued later" in ended.err
