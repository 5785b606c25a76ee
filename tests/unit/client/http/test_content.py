"""Bodies that are held in a file: what is written is what each attempt reads."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline._http.content import PIECE_BYTES, Spliced, Spool, SpoolError, pieces_of, replaced
from tieline._http.messages import WireError


def spooled(*pieces: bytes) -> Spool:
    """A spool of these pieces."""
    spool = Spool()
    for piece in pieces:
        spool.write(piece)
    return spool


@given(st.lists(st.binary(max_size=300)), st.data())
def test_a_spliced_spool_is_sent_as_spliced_bytes_are(pieces: list[bytes], data: st.DataObject) -> None:
    """Whatever is replaced in it, as often as it is read."""
    body, spool = b"".join(pieces), spooled(*pieces)
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    content, expected = replaced(spool, start, end, b"new"), body[:start] + b"new" + body[end:]
    assert len(content) == len(expected)
    assert bytes(content) == bytes(content) == bytes(replaced(body, start, end, b"new")) == expected


def test_two_readers_take_turns() -> None:
    """An attempt that was given up leaves the next one's place in the file alone."""
    body = bytes(range(256)) * (3 * PIECE_BYTES // 256)
    content = Spliced((spooled(body).part(),))
    first, second = pieces_of(content), pieces_of(content)
    turns = [(bytes(a), bytes(b)) for a, b in zip(first, second, strict=True)]
    assert b"".join(a for a, _ in turns) == b"".join(b for _, b in turns) == body


def test_different_uploads_have_different_hashes() -> None:
    """So that refusals of one upload don't count as those of several; equal ones hash alike."""
    assert hash(spooled(b"a", b"b")) == hash(spooled(b"a", b"b"))
    assert len({hash(spooled(*pieces)) for pieces in ((b"a", b"b"), (b"a", b"c"), (b"a",))}) == 3


def test_no_room_is_said_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that can't be written to is named, and how to choose another."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(SpoolError, match=r"missing .*No such file.* TMPDIR"):
        Spool()


def test_a_part_beyond_the_end_is_an_error() -> None:
    """A file that is shorter than what was written never becomes a request that is shorter than it says."""
    with pytest.raises(WireError, match="cut"):
        bytes(Spliced((spooled(b"ab").part(0, 3),)))
