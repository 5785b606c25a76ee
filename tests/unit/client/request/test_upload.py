"""Bodies that a caller gives piece by piece."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.request.test_form import FORM, HEADERS
from tieline._http.content import Spool
from tieline._request.body import read_body
from tieline._request.upload import MEMORY_BYTES_MAX, Upload

BINARY = [(b"content-type", b"application/octet-stream")]
FILE = b"x" * MEMORY_BYTES_MAX


def taken(headers: list[tuple[bytes, bytes]], *pieces: bytes) -> Upload:
    """An upload of these pieces."""
    upload = Upload(headers)
    for piece in pieces:
        upload.add(piece)
    return upload


@pytest.mark.parametrize(
    ("pieces", "is_in_file"),
    [
        ((), False),
        ((b"", b"ab"), False),
        ((FILE,), False),
        ((FILE, b"x"), True),
        ((b'{"a": "', FILE, b'"}'), False),
        ((b"", b" [1,", FILE), False),
    ],
    ids=["nothing", "small", "1 MiB", "more", "JSON", "a JSON list"],
)
def test_where_a_body_is_kept(pieces: tuple[bytes, ...], is_in_file: bool) -> None:
    """Up to 1 MiB in memory, above it in a file; JSON, which must be read as a whole, always in memory."""
    body = taken(BINARY, *pieces).body
    assert isinstance(body, Spool) is is_in_file
    content = read_body(body).with_model("")
    assert bytes(content) == b"".join(pieces)


def test_pieces_that_went_into_the_file_are_told() -> None:
    """So that the event loop may be given back between them."""
    upload = Upload(BINARY)
    assert [upload.add(piece) for piece in (FILE, b"x", b"y")] == [False, True, True]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(FORM) - 1)))
def test_a_form_is_read_while_it_comes(cuts: list[int]) -> None:
    """In any pieces, also where its file is too large for memory; the model is replaced in the file."""
    large = FORM.replace(b"RIFF", b"RIFF" + FILE)
    places = sorted({0, len(large), *cuts, *(len(large) - cut for cut in cuts)})
    upload = taken(HEADERS, *(large[start:end] for start, end in pairwise(places)))
    body = read_body(upload.body, "/audio/transcriptions", HEADERS, form_fields=upload.fields)
    assert isinstance(upload.body, Spool)
    assert (body.model, body.stream, body.answers, body.text_bytes) == ("whisper", True, 2, 12)
    assert bytes(body.with_model("w")) == large.replace(b"\r\nwhisper\r\n", b"\r\nw\r\n")
    assert bytes(body.with_model("")) == large
