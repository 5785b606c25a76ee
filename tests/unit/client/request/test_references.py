"""What a request refers to: ids where the API puts them bind it, the caller's own names bind nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline._request.body import read_body
from tieline._request.references import ids_in_answer, read_path

FILE_PART = {"type": "input_file", "file_id": "f"}
SEARCH = {"type": "file_search", "vector_store_ids": ["v1", "v2"]}
INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}


@pytest.mark.parametrize(
    ("path", "fields", "refers"),
    [
        ("/responses", {"previous_response_id": "resp_1"}, ("resp_1",)),
        ("/responses", {"conversation": {"id": "conv_1"}}, ("conv_1",)),
        ("/responses", {"conversation": "conv_1", "prompt": {"id": "pmpt_1"}}, ("conv_1", "pmpt_1")),
        ("/responses", {"input": [{"role": "user", "content": [FILE_PART, FILE_PART]}]}, ("f",)),
        ("/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, ("msg_1",)),
        ("/responses", {"input": [{"type": "function_call_output", "output": [FILE_PART]}]}, ("f",)),
        ("/responses", {"tools": [SEARCH, INTERPRETER]}, ("v1", "v2", "f")),
        ("/responses", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, ("cntr_1",)),
        ("/responses/resp_1/cancel", {}, ("resp_1",)),
        ("/batches", {"input_file_id": "file-1"}, ("file-1",)),
        ("/vector_stores/vs_1/files", {"file_id": "file-1"}, ("vs_1", "file-1")),
        ("/vector_stores/vs_1/file_batches", {"file_ids": ["f1", "f2"]}, ("vs_1", "f1", "f2")),
        (
            "/chat/completions",
            {"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            ("f",),
        ),
        ("/chat/completions", {"messages": [{"role": "assistant", "audio": {"id": "au_1"}}]}, ("au_1",)),
        ("/threads/t1/runs/r1?limit=2", {}, ("t1", "r1")),
        ("/threads/t1/runs", {"assistant_id": "asst_1"}, ("t1", "asst_1")),
        ("/threads/runs", {"thread": {"messages": [{"attachments": [{"file_id": "f"}]}]}}, ("f",)),
        ("/assistants", {"tool_resources": {"code_interpreter": {"file_ids": ["f"]}}}, ("f",)),
        ("/fine_tuning/jobs", {"training_file": "f", "validation_file": None}, ("f",)),
        ("/fine_tuning/jobs/ftjob-1/cancel", {}, ("ftjob-1",)),
        ("/chat/completions/c1/messages", {}, ("c1",)),
    ],
)
def test_what_a_provider_holds_is_named(path: str, fields: dict[str, Any], refers: tuple[str, ...]) -> None:
    """Ids are read from the fields that the API has for them and from the path of a collection, each once."""
    assert read_body(json.dumps(fields).encode(), path).refers == refers


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/chat/completions", {"messages": [{"content": 'it said "file_id": "x"'}]}),
        ("/chat/completions", {"messages": [{"role": "tool", "tool_call_id": "call_1"}]}),
        ("/chat/completions", {"metadata": {"thread_id": "t"}, "previous_response_id": "not of this API"}),
        ("/chat/completions", {"tools": [{"function": {"parameters": {"example": {"file_id": "x"}}}}]}),
        ("/responses", {"previous_response_id": None, "container": {"type": "auto"}, "conversation": ""}),
        ("/responses", {"input": [{"type": "custom", "content": [{"type": "other", "file_id": "x"}]}]}),
        ("/responses", {"input": "previous_response_id", "tools": {"type": "file_search"}}),
        ("/embeddings", {"input": ["x"], "file_id": "x"}),
        ("/models/files", {}),
        ("/fine_tuning/jobs", {"training_file": 7}),
    ],
)
def test_what_only_looks_like_a_reference_binds_nothing(path: str, fields: dict[str, Any]) -> None:
    """Labels of the caller's own, texts, schemas, fields of other APIs and values of other types are no
    provider's state."""
    assert read_body(json.dumps(fields).encode(), path).refers == ()


NAMES = st.sampled_from(
    [
        *(
            "previous_response_id",
            "conversation",
            "conversation_id",
            "thread_id",
            "file_id",
            "file_ids",
            "id",
        ),
        *(
            "vector_store_ids",
            "container",
            "assistant_id",
            "batch_id",
            "input_file_id",
            "prompt",
            "upload_id",
        ),
    ]
)
VALUES = st.recursive(
    st.one_of(st.text(max_size=5), st.just("file-1"), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
OWN = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


@given(OWN, OWN, OWN)
def test_no_name_of_the_callers_own_binds(
    metadata: dict[str, Any], schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """No field name inside metadata, the schema of a tool, the arguments of its call, a user location or a
    text binds a request, in either API."""
    function = {"name": "f", "parameters": {"type": "object", "properties": schema, "example": schema}}
    text = json.dumps(arguments)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": text}}
    chat = {
        "model": "m",
        "metadata": metadata,
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": text}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": text},
        ],
    }
    response = {
        "model": "m",
        "metadata": metadata,
        "tools": [{"type": "function", **function}],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": schema}},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": text}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": text},
            {"type": "function_call_output", "call_id": "call_1", "output": text},
        ],
    }
    assert read_body(json.dumps(chat).encode(), "/chat/completions").refers == ()
    assert read_body(json.dumps(response).encode(), "/responses").refers == ()


def test_words_of_a_path_are_no_ids() -> None:
    """Collections and actions are words of the API; a query is not part of either."""
    path = read_path("/threads/t1/runs/r1/submit_tool_outputs?x=y")
    assert (path.words, path.ids) == ("threads/runs/submit_tool_outputs", ("t1", "r1"))
    assert read_path("/threads/runs").ids == ()
    assert read_path("/models/ft:gpt").words == "models/ft:gpt"


def test_encrypted_reasoning_is_an_id_of_its_own() -> None:
    """It binds a request as the answer that held it named it, whole or streamed; an item without it does
    not."""
    secret = "x" * 5_000
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": secret}
    (name,) = read_body(json.dumps({"input": [item]}).encode(), "/responses").refers
    assert len(name) < 100
    answer = json.dumps({"output": [item, {"type": "message", "id": "msg_1"}]}).encode()
    assert ids_in_answer("responses", answer) == ("rs_1", "msg_1", name)
    plain = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert read_body(json.dumps({"input": [plain]}).encode(), "/responses").refers == ()


@pytest.mark.parametrize("answer", [b"", b"[1]", b"<html>", b'{"output": 7}', b'{"output": [{"id": 7}]}'])
def test_an_answer_of_another_shape_holds_nothing(answer: bytes) -> None:
    """Whatever a provider sends, nothing is raised."""
    assert ids_in_answer("responses", answer) == ()
