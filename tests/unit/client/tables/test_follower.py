"""What a client does with what its source reports."""

import asyncio
import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tests.unit.client.made_tables import Time, generation, part, router
from tieline._process import clock
from tieline._routing.router import Router
from tieline._tables.checks import TableTrust, TableUpdate
from tieline._tables.follower import TableFollower
from tieline._tables.overlays import Overlays
from tieline._tables.status import Applied, State
from tieline.order_signing import key_name
from tieline.overlay import Overlay, sign
from tieline.table import Slice

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
BOTH = part({A: 500_000, B: 500_000})
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEYS = {key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}


class Calls:
    """Counts how often the follower called back."""

    def __init__(self) -> None:
        self.changes = 0
        self.urgent = 0

    def changed(self) -> None:
        self.changes += 1

    def hurry(self) -> None:
        self.urgent += 1


def follower(last_good: Path | None = None, calls: Calls | None = None) -> tuple[TableFollower, Router]:
    """A follower without a table, and the router it feeds."""
    calls = calls or Calls()
    empty = router(None, Time())
    overlays = Overlays(KEYS, "tieline")
    return TableFollower(empty, overlays, last_good, on_change=calls.changed, on_urgent=calls.hurry), empty


def update(slice_: Slice, seq: int, *, urgent: bool = False) -> TableUpdate:
    """What a source would report of this slice."""
    table = msgspec.structs.replace(generation(slice_, seq), urgent=urgent)
    return TableUpdate(table, {"eu": msgspec.msgpack.encode(slice_)})


def signed_overlay(*exclude: str) -> bytes:
    """An overlay that applies now, for an hour."""
    now_ms = clock.now_ms()
    overlay = Overlay(
        id="ov-1",
        namespace="tieline",
        exclude=exclude,
        issued_ms=now_ms,
        expires_ms=now_ms + 3_600_000,
        actor="root",
        reason="fire",
    )
    return sign(overlay, PRIVATE)


def pools(routing: Router) -> list[str]:
    """The pools of the table in force."""
    assert routing.table is not None
    return [info.pool for info in routing.table.parts["eu"].pools]


def test_a_newer_table_is_in_force_at_once_and_announced() -> None:
    """To every listener, also after one that raises; an urgent one is acknowledged at once."""
    calls, heard = Calls(), list[Applied]()
    following, routing = follower(calls=calls)

    def fails(_applied: Applied) -> None:
        raise ValueError("the application's own mistake")

    following.on_table += [fails, heard.append]
    following.take(update(BOTH, 1))
    following.take(update(BOTH, 2, urgent=True))
    assert pools(routing) == [A, B]
    assert str(following.held_generation) == "test:1:2"
    assert [(applied.generation, applied.urgent) for applied in heard] == [
        ("test:1:1", False),
        ("test:1:2", True),
    ]
    assert (calls.changes, calls.urgent) == (2, 1)


def test_an_error_of_the_source_leaves_the_table_in_force() -> None:
    """The error shows until the source answers again."""
    following, routing = follower()
    following.take(update(BOTH, 1))
    following.failed("Redis: refused")
    errors = [following.error, routing.why_no_table]
    following.heard()
    assert [*errors, following.error] == ["Redis: refused", "Redis: refused", ""]
    assert pools(routing) == [A, B]


def test_what_nobody_confirms_is_as_old_as_its_last_confirmation() -> None:
    """A server that is cut off from the controllers answers, and the client is stale in spite of it."""
    following, _ = follower()
    following.take(update(BOTH, 1))
    following.heard(4_000)
    assert following.age_ms is not None
    assert 4_000 <= following.age_ms < 60_000
    asyncio.run(following.start([]))
    assert following.state(stale_after_ms=4_000)[0] is State.STALE
    following.heard()
    assert following.state(stale_after_ms=60_000)[0] is State.LIVE


def test_an_overlay_applies_to_this_table_and_the_next() -> None:
    """Until it expires, whatever is read where it was."""
    following, routing = follower()
    following.take(update(BOTH, 1))
    following.overlay(signed_overlay("azure"))
    assert pools(routing) == [B]
    following.take(update(BOTH, 2))
    following.overlay(b"")
    assert pools(routing) == [B]
    assert following.overlays.excluded == ("azure",)


async def test_table_and_overlay_come_back_from_the_last_good_file(tmp_path: Path) -> None:
    """The next start begins with both, in the state ``last_good``."""
    path = tmp_path / "routes.bin"
    before, _ = follower(path)
    before.take(update(BOTH, 7))
    before.overlay(signed_overlay("azure"))
    unsaved = [before.unsaved]
    await before.save()
    assert [*unsaved, before.unsaved] == [True, False]
    after, routing = follower(path)
    await after.start(["eu"])
    assert (str(after.held_generation), pools(routing)) == ("test:1:7", [B])
    assert after.state(10_000)[0] is State.LAST_GOOD


async def test_a_file_that_cant_be_read_is_an_error_and_no_table(tmp_path: Path) -> None:
    """The client starts without a table, and says why."""
    path = tmp_path / "routes.bin"
    await asyncio.to_thread(path.write_bytes, b"rubbish")
    following, routing = follower(path)
    await following.start(["eu"])
    assert routing.table is None
    assert "damaged" in following.error
    assert following.state(10_000)[0] is State.INITIALIZING


async def test_a_cancelled_save_ends_only_after_its_write(tmp_path: Path) -> None:
    """What is being written when a client closes is written before its end, so that the next one reads it."""
    file = tmp_path / "routes.bin"
    followed, _ = follower(file)
    followed.take(update(BOTH, 1))
    temporary = tmp_path / f"routes.bin.{os.getpid()}.new"
    os.mkfifo(temporary)  # opening it for writing blocks until somebody reads
    save = asyncio.create_task(followed.save())
    await asyncio.sleep(0)
    save.cancel()
    await asyncio.wait([save], timeout=0.05)
    assert not save.done(), "the write is still under way"
    await asyncio.to_thread(lambda: os.close(os.open(temporary, os.O_RDONLY)))
    await asyncio.wait([save], timeout=60)
    assert save.cancelled()
    assert not temporary.exists()


async def test_pools_outside_of_the_pinned_hosts_get_no_requests() -> None:
    """Their share goes to the others, and the status names them until a table has none."""
    following, routing = follower()
    following.trust = TableTrust(pool_hosts=("good.test",))
    urls = {A: "https://good.test/v1", B: "https://evil.test/v1"}
    moved = replace(BOTH, pools=tuple(replace(info, url=urls[info.pool]) for info in BOTH.pools))
    following.take(update(moved, 1))
    assert pools(routing) == [A]
    assert following.pool_error == f"outside of pool_hosts: {B}"
    good = replace(BOTH, pools=tuple(replace(info, url=urls[A]) for info in BOTH.pools))
    following.take(update(good, 2))
    assert pools(routing) == [A, B]
    assert following.pool_error == ""
