"""PURE. The JSON body of an OpenAI-style request: what routing needs of it, and another model's name in it.

The body is split into its top-level values as raw bytes and joined again: only ``model`` is replaced,
everything else reaches the pool as the caller wrote it.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

CHARACTERS_PER_TOKEN = 4
# Collections whose members one provider holds: /responses/ID, /files/ID/content, /threads/ID/runs/ID ...
STATEFUL = frozenset(
    {
        "assistants",
        "batches",
        "containers",
        "conversations",
        "evals",
        "files",
        "fine_tuning",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
    }
)
_HELD = "previous_response|file|input_file|assistant|thread|batch|vector_store|conversation|container|upload"
_FIELDS = re.compile(rb'"(?:%s)_ids?"\s*:\s*("[^"\\]+"|\[[^\]]*\])' % _HELD.encode())
_STRINGS = re.compile(rb'"([^"\\]+)"')

_split = msgspec.json.Decoder(dict[str, msgspec.Raw])
_join = msgspec.json.Encoder()


class Body(Struct, frozen=True):
    """A request's body. ``fields`` is None for one that is not a JSON object: it travels as it is.
    ``refers``: ids of what a provider holds (a response, file, thread ...), from the path and the body; such
    a request can't be served elsewhere. ``keeps``: the provider will hold what it answers."""

    raw: bytes
    fields: dict[str, msgspec.Raw] | None = None
    model: str = ""
    stream: bool = False
    output_tokens_max: int | None = None
    refers: tuple[str, ...] = ()
    keeps: bool = False

    def with_model(self, name: str) -> bytes:
        """The body under the pool's own name for the model."""
        if self.fields is None or not name or name == self.model:
            return self.raw
        return _join.encode({**self.fields, "model": name})


def read_body(raw: bytes, path: str = "") -> Body:
    """What routing needs of a request; never raises, the provider judges what it can't read."""
    first, *rest = path.partition("?")[0].strip("/").split("/")
    keeps, named = first in STATEFUL, tuple(rest[::2]) if first in STATEFUL else ()
    if raw[:1] != b"{":
        return Body(raw, refers=named, keeps=keeps)
    try:
        fields = _split.decode(raw)
    except msgspec.MsgspecError:
        return Body(raw, refers=named, keeps=keeps)
    model = _value(fields, "model")
    tokens = [_value(fields, name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
    limit = next((value for value in tokens if isinstance(value, int) and value > 0), None)
    return Body(
        raw,
        fields,
        model if isinstance(model, str) else "",
        _value(fields, "stream") is True,
        limit,
        named + _refers(raw, fields),
        keeps or _value(fields, "store") is True,
    )


def _refers(raw: bytes, fields: dict[str, msgspec.Raw]) -> tuple[str, ...]:
    """Text inside messages has its quotes escaped, so what matches is a field."""
    found: list[str] = []
    if b'_id"' in raw or b'_ids"' in raw:
        for value in _FIELDS.findall(raw):
            found += [name.decode("utf-8", "replace") for name in _STRINGS.findall(value)]
    for name in ("conversation", "container"):
        value = _value(fields, name)
        held = value.get("id") if isinstance(value, dict) else value
        if isinstance(held, str):
            found.append(held)
    return tuple(found)


def _value(fields: dict[str, msgspec.Raw], name: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None
