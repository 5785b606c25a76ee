"""The chat-completions wire format."""

import msgspec
import pytest

from lab.standins import wholes, wire
from lab.standins.streams import ChatStream


def chat(body: object, path: str = "/v1/chat/completions") -> wire.ModelRequest:
    """Parse a chat completion with a default of 64 and a limit of 1,000 tokens; ``body`` is JSON, or what
    becomes JSON."""
    return wire.parse_request(
        body if isinstance(body, bytes) else msgspec.json.encode(body),
        path,
        required="messages",
        needs_model=True,
        tokens_default=64,
        tokens_max=1_000,
    )


MESSAGES = [{"role": "user", "content": "x" * 400}, {"role": "user", "content": [{"text": "y" * 41}]}]


def test_tokens_are_counted_and_bounded() -> None:
    """Four characters are a token, parts count too; the answer is as long as asked for, up to the limit."""
    read = chat({"model": "m", "messages": MESSAGES, "max_tokens": 10})
    assert (read.prompt_tokens, read.completion_tokens, read.finish_reason) == (111, 10, "length")
    read = chat({"model": "m", "messages": MESSAGES, "max_completion_tokens": 10_000})
    assert (read.completion_tokens, read.finish_reason) == (1_000, "stop")
    assert chat({"model": "m", "messages": MESSAGES}).completion_tokens == 64


def test_a_deployment_in_the_path_names_the_model() -> None:
    """Azure's classic path outranks the body; other providers' prefixes don't interfere."""
    path = "/openai/deployments/gpt-4o/chat/completions"
    assert chat({"messages": MESSAGES}, path).model == "gpt-4o"
    vertex = "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"
    assert chat({"messages": MESSAGES, "model": "google/m"}, vertex).model == "google/m"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"model":"m","messages":[]}', b'{"messages":[{"role":"user"}]}', b"\xff"]
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    """A body that is no JSON, or has no messages or no model, is refused."""
    with pytest.raises(wire.BadRequestError):
        chat(body)


def test_a_stream_says_exactly_what_the_whole_answer_says() -> None:
    """The chunks' contents add up to the text of the answer that doesn't stream."""
    read = chat({"model": "m", "messages": MESSAGES, "max_tokens": 37, "stream": True})
    whole = msgspec.json.decode(wholes.chat_completion(read, "id", 1))["choices"][0]["message"]["content"]
    chunks = list(ChatStream(read, "id", 1).contents(8))
    said = [msgspec.json.decode(event[6:])["choices"][0]["delta"]["content"] for _, event in chunks]
    assert "".join(said) == whole
    assert [tokens for tokens, _ in chunks] == [8, 8, 8, 8, 5]
