"""PURE. The JSON body of an OpenAI-style request: what routing needs of it, and another model's name in it.

The body is split into its top-level values as raw bytes and joined again: only ``model`` is replaced,
everything else reaches the pool as the caller wrote it.
"""

from typing import Any

import msgspec
from msgspec import Struct

CHARACTERS_PER_TOKEN = 4

_split = msgspec.json.Decoder(dict[str, msgspec.Raw])
_join = msgspec.json.Encoder()


class Body(Struct, frozen=True):
    """A request's body. ``fields`` is None for one that is not a JSON object: it travels as it is."""

    raw: bytes
    fields: dict[str, msgspec.Raw] | None = None
    model: str = ""
    stream: bool = False
    output_tokens_max: int | None = None
    bound: bool = False  # refers to state that one provider holds

    def with_model(self, name: str) -> bytes:
        """The body under the pool's own name for the model."""
        if self.fields is None or not name or name == self.model:
            return self.raw
        return _join.encode({**self.fields, "model": name})


def read_body(raw: bytes) -> Body:
    """What routing needs of a body; never raises, the provider judges what it can't read."""
    if raw[:1] != b"{":
        return Body(raw)
    try:
        fields = _split.decode(raw)
    except msgspec.MsgspecError:
        return Body(raw)
    model = _value(fields, "model")
    tokens = [_value(fields, name) for name in ("max_completion_tokens", "max_tokens", "max_output_tokens")]
    limit = next((value for value in tokens if isinstance(value, int) and value > 0), None)
    return Body(
        raw,
        fields,
        model if isinstance(model, str) else "",
        _value(fields, "stream") is True,
        limit,
        bool(_value(fields, "previous_response_id")),
    )


def _value(fields: dict[str, msgspec.Raw], name: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None
