"""Request bodies: what routing reads of them, and the model's name replaced in place."""

import json

import pytest

from tieline._request.body import read_body, unbound


def test_only_the_top_level_model_changes() -> None:
    """Models named deeper, and every other value, reach the pool as they were, byte for byte."""
    text = b'"\\"model\\": \\"x\\" \\u00e9"'
    raw = b'{"messages":[{"content":' + text + b'}],"n":1.0,"model":"x","m":{"model":"x"}}'
    replaced = read_body(raw).with_model("big")
    assert replaced == raw.replace(b'"model":"x","m"', b'"model":"big","m"')


def test_space_before_the_object_changes_nothing() -> None:
    """JSON allows it."""
    body = read_body(b' \n{"model": "m"}')
    assert (body.model, body.with_model("big")) == ("m", b'{"model":"big"}')


def test_what_routing_needs() -> None:
    """The model, whether to stream, and the limit of the answer are read."""
    body = read_body(json.dumps({"model": "m", "stream": True, "max_completion_tokens": 9}).encode())
    assert (body.model, body.stream, body.output_tokens_max) == ("m", True, 9)
    assert body.refers == ()
    assert not body.keeps


def test_what_a_provider_will_hold_is_known() -> None:
    """It will hold what is made under a stateful path or with ``store``, whether the body is JSON or not."""
    assert read_body(b"--form", "/files").keeps
    assert read_body(b"{}", "/responses").keeps
    assert read_body(b'{"store":true}', "/chat/completions").keeps
    assert not read_body(b'{"store":false}', "/chat/completions").keeps


@pytest.mark.parametrize("raw", [b"", b"--boundary", b"[1]", b'{"model": 7}', b'{"model": "m"', b"\xff{"])
def test_what_cant_be_read_travels_as_it_is(raw: bytes) -> None:
    """Multipart, broken JSON and values of unexpected types are for the provider to judge."""
    body = read_body(raw)
    assert body.model == ""
    assert body.with_model("") == raw


def test_unbound_leaves_out_what_only_saves_work() -> None:
    """The previous response, encrypted reasoning and the key of the prompt cache go; what the caller says
    and what only one provider has stay."""
    reasoning = {"type": "reasoning", "encrypted_content": "x"}
    message = {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}
    fields = {
        "model": "m",
        "input": [reasoning, message],
        "previous_response_id": "r",
        "prompt_cache_key": "k",
    }
    body = unbound(read_body(json.dumps(fields).encode(), "/responses"), "/responses")
    assert isinstance(body.raw, bytes)
    assert json.loads(body.raw) == {"model": "m", "input": [message]}
    assert body.refers == ("f",)


@pytest.mark.parametrize("raw", [b'{"model":"m","input":"encrypted_content"}', b"--form", b""])
def test_unbound_changes_nothing_else(raw: bytes) -> None:
    """A request without any of them travels as the caller wrote it."""
    assert unbound(read_body(raw, "/responses"), "/responses").raw is raw
