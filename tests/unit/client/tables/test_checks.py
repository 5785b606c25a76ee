"""Which table may replace the one in force: newer, complete, undamaged, of the same lineage."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tests.unit.client.made_tables import part
from tieline._routing.slices import ClientTable
from tieline._tables.checks import TableTrust, TableUpdate, examine, signed_manifest
from tieline.order_signing import key_name
from tieline.signatures import sign_manifest
from tieline.table import Generation, Manifest, SignedManifest, TableError, checksum

RAW = msgspec.msgpack.encode(part({"a/r/x": 1_000_000}))
NAME = "chat/eu"


def manifest(
    seq: int, *, epoch: int = 1, lineage: str = "l", urgent_seq: int = 0, data: bytes = RAW
) -> bytes:
    """The manifest of a table with this one slice."""
    sums = {NAME: checksum(data)}
    return msgspec.msgpack.encode(Manifest(Generation(lineage, epoch, seq), 1, sums, urgent_seq))


def examined(data: bytes | None, in_force: Generation | None, raw: bytes | None = RAW) -> TableUpdate | None:
    """What a source would make of a manifest and this slice."""
    return examine(
        signed_manifest(data, None), {NAME: raw}, workload="chat", origins=["eu"], in_force=in_force
    )


def test_only_newer_tables_are_taken() -> None:
    """Newer within the lineage is taken; the same or older is not, whatever else it says."""
    current = Generation("l", 2, 7)
    assert examined(manifest(8, epoch=2), current) is not None
    assert examined(manifest(1, epoch=3), current) is not None
    assert examined(manifest(7, epoch=2), current) is None
    assert examined(manifest(99, epoch=1), current) is None


def test_urgency_is_relative_to_the_table_in_force() -> None:
    """A table is urgent for a client whose own is older than the last forced move."""
    older = examined(manifest(9, urgent_seq=8), Generation("l", 1, 7))
    later = examined(manifest(9, urgent_seq=8), Generation("l", 1, 8))
    first = examined(manifest(9, urgent_seq=8), None)
    assert older is not None
    assert older.table.urgent
    assert later is not None
    assert not later.table.urgent
    assert first is not None
    assert not first.table.urgent


@pytest.mark.parametrize(
    ("data", "raw", "error"),
    [
        (None, RAW, "no route table"),
        (b"\xc1", RAW, "not a manifest"),
        (manifest(9, lineage="other"), RAW, "LINEAGE"),
        (manifest(9), None, "missing"),
        (manifest(9), RAW + b"\x00", "checksum"),
        (manifest(9, data=b"x"), b"x", "not a slice"),
    ],
)
def test_what_must_not_be_used_is_refused(data: bytes | None, raw: bytes | None, error: str) -> None:
    """Absent, damaged, partial or of another lineage: the table in force stays, and the error says why."""
    with pytest.raises(TableError, match=error):
        examined(data, Generation("l", 1, 7), raw)


def test_an_unknown_route_is_named() -> None:
    """A client of a route that the table does not have is told which routes there are."""
    with pytest.raises(TableError, match="chat/jp; it has chat/eu"):
        examine(SignedManifest(manifest(1)), {}, workload="chat", origins=["jp"], in_force=None)


def test_a_lineage_that_follows_ours_is_taken() -> None:
    """Whatever its epoch and seq, by an operator's word in the manifest; another lineage still is not."""

    def offered(*parents: str) -> TableUpdate | None:
        new = Manifest(Generation("new", 1, 1), 1, {NAME: checksum(RAW)}, parents=parents)
        return examined(msgspec.msgpack.encode(new), Generation("old", 900, 7))

    update = offered("older", "old")
    assert update is not None
    assert update.table.generation == Generation("new", 1, 1)
    for parents in ((), ("older",)):
        with pytest.raises(TableError, match="adopt-lineage"):
            offered(*parents)


PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUST = TableTrust({key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}, "tieline")


def examined_by_key(data: bytes, signature: str, raw: bytes = RAW) -> TableUpdate | None:
    """What a source would make of it for a client that was given the controllers' key."""
    signed = SignedManifest(data, signature)
    return examine(signed, {NAME: raw}, workload="chat", origins=["eu"], in_force=None, trust=TRUST)


def test_with_controllers_keys_only_signed_tables_are_taken() -> None:
    """Whoever can write to Redis can't make a table up: no signature, one for other bytes or for another
    namespace, and a slice that the signed manifest does not name are all refused."""
    data = manifest(1)
    signature = sign_manifest(PRIVATE, data, "tieline")
    update = examined_by_key(data, signature)
    assert update is not None
    assert update.proof == SignedManifest(data, signature)
    for wrong in ("", sign_manifest(PRIVATE, manifest(2), "tieline"), sign_manifest(PRIVATE, data, "other")):
        with pytest.raises(TableError, match="it is not used \\(controller_keys\\)"):
            examined_by_key(data, wrong)
    with pytest.raises(TableError, match="checksum"):
        examined_by_key(data, signature, msgspec.msgpack.encode(part({"evil/r/x": 1_000_000})))


@pytest.mark.parametrize(
    ("url", "is_stranger"),
    [
        ("https://prod.openai.azure.com/openai", False),
        ("http://llm.internal:8000/v1", False),
        ("http://llm.internal:9000/v1", True),
        ("https://llm.internal/v1", True),
        ("https://evil.test/prod.openai.azure.com", True),
        ("https://prod.openai.azure.com.evil.test/v1", True),
        ("https://prod.openai.azure.com@evil.test/v1", True),
        ("http://gateway.internal:8001/v1", False),
        ("http://gateway.internal:secret@evil.test:8001/v1", True),
        ("http://llm.internal:none/v1", True),
        ("https://[::1", True),
        ("nonsense", True),
    ],
)
def test_pools_are_used_on_the_pinned_hosts_only(url: str, is_stranger: bool) -> None:
    """A pattern stands for whole hosts; one with a port means that port. Without patterns all are used."""
    slice_ = part({"a/r/x": 1_000_000})
    moved = replace(slice_, pools=(replace(slice_.pools[0], url=url),))
    table = ClientTable(Generation("l", 1, 1), {"eu": moved})
    trust = TableTrust(pool_hosts=("*.openai.azure.com", "llm.internal:8000", "gateway.internal:*"))
    assert trust.strangers(table) == (("a/r/x",) if is_stranger else ())
    assert TableTrust().strangers(table) == ()
