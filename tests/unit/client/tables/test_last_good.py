"""The last good file: read again as it was written, never used damaged or for another route."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.client.made_tables import part
from tests.waiting import until
from tieline._client import AsyncClient
from tieline._routing.route import Shed
from tieline._routing.slices import ClientTable
from tieline._tables.checks import TableTrust
from tieline._tables.last_good import read_last_good, write_last_good
from tieline.order_signing import key_name
from tieline.signatures import sign_manifest
from tieline.table import Generation, Manifest, SignedManifest, TableError, checksum, encode_manifest

RAW = msgspec.msgpack.encode(part({"a/r/x": 1_000_000}))


def test_last_good_comes_back_as_written(tmp_path: Path) -> None:
    """What was written is read again; nothing else is left beside it."""
    path = tmp_path / "deep" / "routes.bin"
    write_last_good(path, Generation("l", 1, 4), {"eu": RAW})
    assert read_last_good(path, "chat", ["eu"]) == ClientTable(
        Generation("l", 1, 4), {"eu": part({"a/r/x": 1_000_000})}
    )
    assert [file.name for file in path.parent.iterdir()] == ["routes.bin"]
    assert read_last_good(tmp_path / "absent", "chat", ["eu"]) is None


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A file cut short, altered by one bit, or of something else is never used."""
    path = tmp_path / "routes.bin"
    write_last_good(path, Generation("l", 1, 4), {"eu": RAW})
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b"", b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match="damaged"):
            read_last_good(path, "chat", ["eu"])


@pytest.mark.parametrize(("workload", "origin"), [("api", "eu"), ("chat", "jp")])
async def test_a_file_of_another_route_is_never_used(tmp_path: Path, workload: str, origin: str) -> None:
    """Neither as the source nor as the last good table: what one workload or origin may use need not be
    lawful for another. The error names what there is."""
    path, absent = tmp_path / "routes.bin", tmp_path / "absent"
    await asyncio.to_thread(write_last_good, path, Generation("l", 1, 4), {"eu": RAW})
    async with AsyncClient(path, workload=workload, origin=origin) as client:
        await until(lambda: client.status.error != "", 10, "the file is looked at")
        shed = client.pick("chat-large")
        assert isinstance(shed, Shed)
        assert shed.text.endswith(f"routes.bin: has no route {workload}/{origin}; it has chat/eu")
    async with AsyncClient(absent, workload=workload, origin=origin, last_good=path) as client:
        assert isinstance(client.pick("chat-large"), Shed)


PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUST = TableTrust({key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}, "tieline")


def proof_of(generation: Generation, parts: dict[str, bytes]) -> SignedManifest:
    """The manifest that the controllers would have signed."""
    sums = {name: checksum(data) for name, data in parts.items()}
    data = encode_manifest(Manifest(generation, 1, sums))
    return SignedManifest(data, sign_manifest(PRIVATE, data, "tieline"))


def test_with_controllers_keys_the_file_must_hold_a_signed_table(tmp_path: Path) -> None:
    """A file without a signature, and one whose slice or generation is not the signed one, are refused: also
    where a signed slice stands in the place of another origin's."""
    path, generation = tmp_path / "routes.bin", Generation("l", 1, 4)
    proof = proof_of(generation, {"chat/eu": RAW})
    write_last_good(path, generation, {"eu": RAW}, proof=proof)
    assert read_last_good(path, "chat", ["eu"], TRUST) is not None
    write_last_good(path, generation, {"eu": RAW})
    with pytest.raises(TableError, match="the table is not signed"):
        read_last_good(path, "chat", ["eu"], TRUST)
    for wrong in (proof_of(generation, {"chat/eu": b"x"}), proof_of(generation, {"chat/us": RAW})):
        write_last_good(path, generation, {"eu": RAW}, proof=wrong)
        with pytest.raises(TableError, match="is not the one whose signature it holds"):
            read_last_good(path, "chat", ["eu"], TRUST)
    write_last_good(path, Generation("l", 1, 5), {"eu": RAW}, proof=proof)
    with pytest.raises(TableError, match="is not the one whose signature it holds"):
        read_last_good(path, "chat", ["eu"], TRUST)
