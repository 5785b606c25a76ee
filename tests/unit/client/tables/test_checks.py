"""Which table may replace the one in force: newer, complete, undamaged, of the same lineage."""

import msgspec
import pytest

from tests.unit.client.made_tables import part
from tieline._tables.checks import TableUpdate, examine
from tieline.table import Generation, Manifest, TableError, checksum

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
    return examine(data, {NAME: raw}, workload="chat", origins=["eu"], in_force=in_force)


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
        examine(manifest(1), {}, workload="chat", origins=["jp"], in_force=None)


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
