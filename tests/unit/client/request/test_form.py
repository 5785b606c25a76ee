"""Multipart forms: what routing reads of them, and the model's name replaced in place."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline._request.body import Body, read_body
from tieline._request.form import VALUE_MAX_BYTES, FormReader, boundary_of

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="model.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--\r\n--A\r\n\r\n\x00\xff\r\n"
    b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
    b"--B\r\ncontent-disposition: form-data; name=stream\r\n\r\ntrue\r\n"
    b'--B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n'
    b"--B--\r\n"
)
HEADERS = [(b"Content-Type", b"multipart/form-data; boundary=B")]


def body(raw: bytes, path: str = "/audio/transcriptions") -> Body:
    """The form as routing reads it."""
    return read_body(raw, path, HEADERS)


def test_what_routing_needs_of_a_form() -> None:
    """The model, whether to stream, and how many answers are read, wherever they stand. Files are no text."""
    form = body(FORM)
    assert (form.model, form.stream, form.answers, form.text_bytes) == ("whisper", True, 2, 12)
    assert (form.refers, form.keeps) == ((), False)
    assert body(FORM, "/files").keeps


def test_only_the_model_changes() -> None:
    """Every other byte of the form reaches the pool as it was, also a file that looks like a boundary."""
    form = body(FORM)
    assert bytes(form.with_model("whisper-1")) == FORM.replace(b"whisper", b"whisper-1")
    assert bytes(form.with_model("w")) == FORM.replace(b"whisper", b"w")
    assert form.with_model("whisper") is form.raw
    assert form.with_model("") is form.raw


@given(st.lists(st.integers(1, len(FORM) - 1)))
def test_a_form_may_come_in_any_pieces(cuts: list[int]) -> None:
    """The same fields are read at the same places, at any split of the bytes."""
    reader, places = FormReader(b"B"), sorted({0, len(FORM), *cuts})
    for start, end in pairwise(places):
        reader.feed(FORM[start:end])
    field = reader.fields["model"]
    assert {name: item.value for name, item in reader.fields.items()} == {
        "model": "whisper",
        "stream": "true",
        "n": "2",
    }
    assert FORM[field.start : field.end] == b"whisper"


@pytest.mark.parametrize(
    "raw",
    [
        b"--B",
        b"no form at all",
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nnever ended',
        b"--B\r\n" + b"x" * 20_000,
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
        + b"x" * (VALUE_MAX_BYTES + 1)
        + b"\r\n--B--",
        b'--B\r\nContent-Disposition: attachment; name="model"\r\n\r\nm\r\n--B--',
        b'--B--\r\n--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--',
    ],
)
def test_what_is_no_form_travels_as_it_is(raw: bytes) -> None:
    """Broken forms, fields without an end and fields of unusual size are for the provider to judge."""
    form = body(raw)
    assert form.model == ""
    assert form.with_model("x") == raw


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/form-data; charset=utf-8; boundary="a b"', b"a b"),
        ("Multipart/Form-Data;Boundary=x", b"x"),
        ("multipart/form-data", None),
        ("application/json; boundary=x", None),
    ],
)
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    """They are read from the content type, quoted or not."""
    assert boundary_of(content_type) == boundary
