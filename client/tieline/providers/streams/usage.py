"""PURE. What an answer cost: the token counts that a stream's event or a whole answer names.

Chat completions call the two counts ``prompt_tokens`` and ``completion_tokens``; the responses, images and
audio APIs call them ``input_tokens`` and ``output_tokens``. Gemini's API names them in ``usageMetadata``, the
tokens of its thoughts beside those of its answer. A count that is no whole number counts as absent:
transcriptions may be paid by their seconds.
"""

from typing import Any

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE

TokenCounts = tuple[int, int]  # of the prompt, of the answer
_PROMPT_FIELDS = ("prompt_tokens", "input_tokens", "promptTokenCount")
_ANSWER_FIELDS = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_THOUGHTS_FIELDS = ("thoughtsTokenCount",)


class _WholeAnswer(Struct):
    usage: Any = None
    usage_metadata: Any = msgspec.field(default=None, name="usageMetadata")
    id: Any = None


_whole_decoder = msgspec.json.Decoder(_WholeAnswer)


def read_whole(body: bytes) -> tuple[TokenCounts | None, str]:
    """(token counts, the answer's id) of an answer that is no stream; None and "" for what it does not name
    or can't be read."""
    try:
        answer = _whole_decoder.decode(body)
    except UNDECODABLE:
        return None, ""
    usage = token_counts(answer.usage or answer.usage_metadata)
    return usage, answer.id if isinstance(answer.id, str) else ""


def token_counts(usage: Any, before: TokenCounts | None = None) -> TokenCounts | None:
    """The counts in the value of a ``usage`` field; None where it names none for the prompt. ``before``: what
    an earlier event of the stream has named, as Anthropic's streams name the prompt first and the answer
    last."""
    if not isinstance(usage, dict):
        return None
    prompt, answer = _count(usage, _PROMPT_FIELDS), _count(usage, _ANSWER_FIELDS)
    if prompt is None:
        return None if before is None or answer is None else (before[0], answer)
    return prompt, (answer or 0) + (_count(usage, _THOUGHTS_FIELDS) or 0)


def _count(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
