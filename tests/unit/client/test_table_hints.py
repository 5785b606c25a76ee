"""The hint of a new table: what every reader understands of it, and what a small urgent one carries."""

import pytest

from tieline.table_hints import CARRIED_BYTES_MAX, TableHint, decode_hint, encode_hint

FIELDS = {"manifest": b"\n\x00 1", "slice:chat/us": b"part\n"}


def test_an_urgent_hint_carries_what_changed() -> None:
    """A client then needs no read before it uses the table."""
    data = encode_hint("main:3:7", urgent=True, fields=FIELDS)
    assert decode_hint(data) == TableHint(urgent=True, fields=FIELDS)


def test_readers_of_the_last_line_alone_understand_it() -> None:
    """Clients of an earlier version look only at how a hint ends."""
    assert encode_hint("main:3:7", urgent=True, fields=FIELDS).rstrip().endswith(b"main:3:7 1")
    assert encode_hint("main:3:7", urgent=False, fields=FIELDS).rstrip().endswith(b"main:3:7 0")


def test_a_hint_that_is_not_urgent_carries_nothing() -> None:
    """Clients spread their reads of such a table anyhow."""
    assert encode_hint("main:3:7", urgent=False, fields=FIELDS) == b"main:3:7 0"
    assert decode_hint(b"main:3:7 0") == TableHint(urgent=False, fields={})


def test_a_large_change_is_not_sent_to_everybody() -> None:
    """Every client gets a hint, whatever it needs of it, so what it carries has a limit."""
    room = CARRIED_BYTES_MAX - len("manifest")
    assert decode_hint(encode_hint("m:1:1", urgent=True, fields={"manifest": bytes(room)})).fields
    larger = encode_hint("m:1:1", urgent=True, fields={"manifest": bytes(room + 1)})
    assert decode_hint(larger) == TableHint(urgent=True, fields={})


def test_the_hint_of_an_emergency_overlay_is_urgent_and_carries_nothing() -> None:
    """Its form is that of earlier versions."""
    assert decode_hint(b"overlay:abc 1") == TableHint(urgent=True, fields={})


@pytest.mark.parametrize(
    "data", [b"", b" ", b"\xc1\nmain:3:7 1", b"\x81\xa1a\x01\nmain:3:7 1", b"main:3:7 1\n"]
)
def test_what_can_not_be_read_is_not_carried(data: bytes) -> None:
    """The table is then read from the hash. Urgent is what ends as an urgent hint ends."""
    assert decode_hint(data) == TableHint(urgent=data.rstrip().endswith(b" 1"), fields={})
