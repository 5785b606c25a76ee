"""PURE: whole answers, in the format of each API (https://platform.openai.com/docs/api-reference)."""

from base64 import b64encode
from typing import Any

from lab.standins import wire
from lab.standins.wire import ModelRequest, encode

# The head of an MP3 file, so that what plays it knows the type.
AUDIO_HEAD = b"ID3\x04\x00\x00\x00\x00\x00\x00"


def picture(number: int) -> str:
    """The bytes of picture ``number`` of an answer, in base 64. No program could draw it."""
    return b64encode(f"a picture of a tie line, number {number}".encode()).decode()


def chat_completion(request: ModelRequest, answer_id: str, created_s: int) -> bytes:
    """A chat completion."""
    message = {"role": "assistant", "content": wire.text(0, request.completion_tokens), "refusal": None}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": request.finish_reason}
        for index in range(request.count)
    ]
    return encode(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created_s,
            "model": request.model,
            "choices": choices,
            "usage": wire.usage(request),
        }
    )


def completion(request: ModelRequest, answer_id: str, created_s: int) -> bytes:
    """A completion of the older API."""
    words = wire.text(0, request.completion_tokens)
    choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": request.finish_reason}
    return encode(
        {
            "id": answer_id,
            "object": "text_completion",
            "created": created_s,
            "model": request.model,
            "choices": [choice],
            "usage": wire.usage(request),
        }
    )


def response_object(
    request: ModelRequest, answer_id: str, created_s: int, *, status: str = "completed"
) -> dict[str, Any]:
    """The object of the responses API; without output unless its ``status`` is "completed"."""
    ended = status == "completed"
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created_s,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [output_item(request, answer_id)] if ended else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": wire.usage_of_parts(request) if ended else None,
    }


def output_item(request: ModelRequest, answer_id: str) -> dict[str, Any]:
    """The message that a response holds."""
    part = {"type": "output_text", "text": wire.text(0, request.completion_tokens), "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{answer_id}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def response(request: ModelRequest, answer_id: str, created_s: int) -> bytes:
    """An answer of the responses API."""
    return encode(response_object(request, answer_id, created_s))


def embeddings(request: ModelRequest, _answer_id: str, _created_s: int) -> bytes:
    """One vector of eight dimensions for each input."""
    rows = [
        {"object": "embedding", "index": index, "embedding": [0.125] * 8} for index in range(request.count)
    ]
    tokens = {"prompt_tokens": request.prompt_tokens, "total_tokens": request.prompt_tokens}
    return encode({"object": "list", "data": rows, "model": request.model, "usage": tokens})


def images(request: ModelRequest, _answer_id: str, created_s: int) -> bytes:
    """Pictures in base 64."""
    rows = [{"b64_json": picture(number)} for number in range(request.count)]
    return encode({"created": created_s, "data": rows, "usage": wire.usage_of_parts(request)})


def transcription(request: ModelRequest, _answer_id: str, _created_s: int) -> bytes:
    """The text of a sound."""
    usage = {"type": "tokens", **wire.usage_of_parts(request)}
    return encode({"text": wire.text(0, request.completion_tokens), "usage": usage})


def speech(request: ModelRequest, _answer_id: str, _created_s: int) -> bytes:
    """The sound of a text: no JSON, and no program could play it."""
    return AUDIO_HEAD + wire.text(0, request.completion_tokens).encode()


def moderation(request: ModelRequest, answer_id: str, _created_s: int) -> bytes:
    """A judgement for each input: nothing is wrong with it."""
    categories = {"harassment": False, "violence": False}
    scores = dict.fromkeys(categories, 0.01)
    row = {"flagged": False, "categories": categories, "category_scores": scores}
    return encode({"id": answer_id, "model": request.model, "results": [row] * request.count})


def file_object(_request: ModelRequest, answer_id: str, created_s: int) -> bytes:
    """A file that was uploaded."""
    return encode(
        {
            "id": answer_id,
            "object": "file",
            "bytes": 1,
            "created_at": created_s,
            "filename": "upload",
            "purpose": "batch",
            "status": "processed",
        }
    )


def batch(_request: ModelRequest, answer_id: str, created_s: int) -> bytes:
    """A batch that was accepted."""
    return encode(
        {
            "id": answer_id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": "file-1",
            "completion_window": "24h",
            "status": "validating",
            "created_at": created_s,
        }
    )
