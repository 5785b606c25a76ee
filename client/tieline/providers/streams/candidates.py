"""PURE. The candidates of Gemini's API, which are its choices: which of them say something, and which end.

    {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
     "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1, "totalTokenCount": 3}}

A stream is a row of such objects without a last event of its own. Each candidate ends with a
``finishReason``, whichever it is: a filter or a limit is an end that the caller has to know. A prompt that
was blocked gets no candidate, but ``{"promptFeedback": {"blockReason": "SAFETY"}}``, which is all of the
answer.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

from typing import Any

_NO_REASON = (None, "", "FINISH_REASON_UNSPECIFIED")
_NO_OUTPUT = frozenset({"thoughtSignature", "thought"})  # what only describes a part


def finished_candidates(candidates: Any) -> tuple[int, ...]:
    """The indexes of the candidates that end here."""
    ends = [each for each in _objects(candidates) if each.get("finishReason") not in _NO_REASON]
    return tuple(index if isinstance(index := each.get("index"), int) else 0 for each in ends)


def says_something(candidates: Any) -> bool:
    """Whether a candidate has a part with anything in it: text, a call of a function, data."""
    for candidate in _objects(candidates):
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if any(any(part[name] for name in part.keys() - _NO_OUTPUT) for part in _objects(parts)):
            return True
    return False


def is_blocked(feedback: Any) -> bool:
    """Whether the prompt was blocked; ``feedback``: the value of ``promptFeedback``."""
    return isinstance(feedback, dict) and bool(feedback.get("blockReason"))


def _objects(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
