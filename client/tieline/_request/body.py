"""PURE. The body of an OpenAI-style request: what routing needs of it, and another model's name in it.

A JSON body is split into its top-level values as raw bytes and joined again. Only ``model`` is replaced;
everything else reaches the pool as the caller wrote it, byte for byte. That costs 1 to 6 us at usual sizes
and 0.24 ms at 400 kB, where decoding and encoding the whole would cost 1.5 ms. In a multipart form the value
of the part ``model`` is replaced in the same way.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tieline._http.content import Content, Spliced, Spool, replaced
from tieline._http.messages import Headers, find
from tieline._request.form import Field, FormReader, boundary_of
from tieline._request.references import PathReferences, ids_in_body, read_path, value_in
from tieline.errors import UNDECODABLE
from tieline.model_paths import ModelPath, model_path

_LIMIT_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

_SAVES_WORK = frozenset({"previous_response_id", "prompt_cache_key"})
_NO_HEADERS: Headers = []
_SPACE_MAX = 64  # before a JSON object
_PIECE_BYTES = 256 * 1024  # of a form that is read, so that a large one is not copied whole

_splitter = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Count = Annotated[int, Meta(ge=1)] | None


class _Limits(Struct, rename="camel"):
    """As Gemini's API names them."""

    max_output_tokens: _Count = None
    candidate_count: _Count = None


class _Configured(Struct, rename="camel"):
    generation_config: _Limits | None = None


_limits_decoder = msgspec.json.Decoder(_Configured)
_joiner = msgspec.json.Encoder()


class Body(Struct, frozen=True):
    """A request's body. ``fields`` is None for one that is not a JSON object, and ``model_field`` for one
    that is no form which names a model: one that is neither travels as it is, such as one whose path names
    the model. ``text_bytes``: its size without the files of a form. ``answers``: how many choices or images
    it asks for. ``refers``: ids of what a provider holds (a response, a file, a thread), from the path and
    the body; such a request can't be served elsewhere. ``keeps``: the provider will hold what it answers."""

    raw: bytes | Spool
    fields: dict[str, msgspec.Raw] | None = None
    model_field: Field | None = None
    text_bytes: int = 0
    model: str = ""
    stream: bool = False
    output_tokens_max: int | None = None
    answers: int = 1
    refers: tuple[str, ...] = ()
    keeps: bool = False

    def with_model(self, name: str) -> Content:
        """The body under the pool's own name for the model; unchanged without a name, or where it has it. The
        files of a form are not copied."""
        if name and name != self.model:
            if self.fields is not None:
                return _joiner.encode({**self.fields, "model": name})
            if (field := self.model_field) is not None:
                return replaced(self.raw, field.start, field.end, name.encode())
        return Spliced((self.raw.part(),)) if isinstance(self.raw, Spool) else self.raw


def read_body(
    raw: bytes | Spool,
    path: str = "",
    headers: Headers = _NO_HEADERS,
    *,
    form_fields: Mapping[str, Field] | None = None,
) -> Body:
    """What routing needs of a request. Never raises: what can't be read here, the provider judges.
    ``form_fields``: the text fields of a form, where it was read before."""
    if (named := model_path(path)) is not None:
        return _read_of_model(raw, named)
    place = read_path(path)
    if isinstance(raw, Spool) or form_fields is not None:
        return _read_other(raw, place, form_fields)
    if raw[:1] != b"{" and raw[:_SPACE_MAX].lstrip()[:1] != b"{":
        return _read_other(raw, place, _form_fields(raw, headers))
    try:
        fields = _splitter.decode(raw)
    except UNDECODABLE:
        return _read_other(raw, place, _form_fields(raw, headers))
    model = value_in(fields, "model")
    limits = [value_in(fields, name) for name in _LIMIT_FIELDS if name in fields]
    return Body(
        raw,
        fields,
        model=model if isinstance(model, str) else "",
        text_bytes=len(raw),
        stream=value_in(fields, "stream") is True,
        output_tokens_max=next((limit for limit in limits if isinstance(limit, int) and limit > 0), None),
        answers=_answers(fields),
        refers=place.ids + ids_in_body(place.words, raw, fields),
        keeps=place.stateful or value_in(fields, "store") is True,
    )


def _read_of_model(raw: bytes | Spool, named: ModelPath) -> Body:
    """A request of Gemini's API."""
    limits = _Limits()
    if not isinstance(raw, Spool):
        try:
            limits = _limits_decoder.decode(raw).generation_config or limits
        except UNDECODABLE:  # the provider judges it
            pass
    return Body(
        raw,
        text_bytes=0 if isinstance(raw, Spool) else len(raw),
        model=named.model,
        stream=named.streams,
        output_tokens_max=limits.max_output_tokens,
        answers=limits.candidate_count or 1,
    )


def unbound(body: Body, path: str) -> Body:
    """The body without what ties it to one pool and only saves work there: ``previous_response_id``,
    encrypted reasoning among the ``input``, and ``prompt_cache_key``."""
    if body.fields is None or isinstance(body.raw, Spool):
        return body
    fields = {name: value for name, value in body.fields.items() if name not in _SAVES_WORK}
    if "input" in fields and b'"encrypted_content"' in body.raw:
        items = value_in(fields, "input")
        if isinstance(items, list):
            fields["input"] = msgspec.Raw(_joiner.encode([item for item in items if not _is_encrypted(item)]))
    return body if fields == body.fields else read_body(_joiner.encode(fields), path)


def _is_encrypted(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning" and bool(item.get("encrypted_content"))


def _form_fields(raw: bytes, headers: Headers) -> Mapping[str, Field] | None:
    """The text fields of a form that came whole; None for what is no form."""
    boundary = boundary_of(find(headers, b"content-type") or "") if raw else None
    if boundary is None:
        return None
    reader = FormReader(boundary)
    for at in range(0, len(raw), _PIECE_BYTES):
        reader.feed(raw[at : at + _PIECE_BYTES])
    return reader.fields


def _read_other(raw: bytes | Spool, place: PathReferences, fields: Mapping[str, Field] | None) -> Body:
    """A form with these text fields, or a body that travels as it is."""
    if fields is None:
        return Body(raw, text_bytes=len(raw), refers=place.ids, keeps=place.stateful)
    model, count = fields.get("model"), _text(fields, "n")
    return Body(
        raw,
        model_field=model,
        text_bytes=sum(field.end - field.start for field in fields.values()),
        model=model.value if model is not None else "",
        stream=_text(fields, "stream").lower() == "true",
        answers=int(count) if count.isascii() and count.isdigit() and 0 < len(count) < 4 else 1,
        refers=place.ids,
        keeps=place.stateful,
    )


def _text(fields: Mapping[str, Field], name: str) -> str:
    field = fields.get(name)
    return field.value if field is not None else ""


def _answers(fields: dict[str, msgspec.Raw]) -> int:
    """``n`` for each of the prompts; only completions take several, as a list of texts or of token lists."""
    if "n" not in fields and "prompt" not in fields:
        return 1
    count, prompt = value_in(fields, "n"), value_in(fields, "prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    return prompts * (count if isinstance(count, int) and count > 0 else 1)
