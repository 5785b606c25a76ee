"""Gemini's own API: where requests go, where a stream begins to be output, how it ends, what it cost."""

import json
from typing import Any

import pytest

from tieline._request.body import read_body
from tieline._routing.slices import needs_of, offer_for
from tieline.events import ResultClass
from tieline.model_paths import model_path
from tieline.providers import url_for
from tieline.providers.answers import reading_of_error
from tieline.providers.streams import Phase, StreamReader
from tieline.providers.whole import judge, must_be_json
from tieline.table import ModelOffer, PoolInfo

ASK = "/models/flash:generateContent"
STREAM = "/models/flash:streamGenerateContent?alt=sse"
PLACE = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 5, "totalTokenCount": 12}


def chunk(**fields: Any) -> bytes:
    """One event, as Google sends it."""
    return f"data: {json.dumps(fields)}\r\n\r\n".encode()


def candidate(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, **fields}


ANNOUNCED = chunk(usageMetadata={"promptTokenCount": 3}, modelVersion="flash", responseId="r")
THOUGHTLESS = chunk(candidates=[candidate({"text": "", "thoughtSignature": "c2ln"})])
HELLO = chunk(candidates=[candidate({"text": "Hello"})])
END = chunk(candidates=[candidate({"text": "."}, finishReason="STOP")], usageMetadata=USAGE)
UNAVAILABLE = chunk(error={"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"})


@pytest.mark.parametrize(
    ("adapter", "base_url", "model", "url"),
    [
        ("vertex", f"{PLACE}/endpoints/openapi", "google/f-1", f"{PLACE}/publishers/google/models/f-1"),
        ("vertex", f"{PLACE}/endpoints/openapi/", "f-1@2", f"{PLACE}/publishers/google/models/f-1@2"),
        ("vertex", PLACE, "meta/llama", f"{PLACE}/publishers/meta/models/llama"),
        ("openai", "http://10.0.0.1/v1/", "f-1", "http://10.0.0.1/v1/models/f-1"),
        ("openai", "http://10.0.0.1/v1", "", "http://10.0.0.1/v1/models/flash"),
    ],
)
def test_the_url_names_the_pools_own_model(adapter: Any, base_url: str, model: str, url: str) -> None:
    """On Vertex AI below the publisher of the model, beside the endpoint of the other API."""
    assert url_for(adapter, base_url, path=ASK, model=model) == f"{url}:generateContent"
    assert url_for(adapter, base_url, path=STREAM, model=model) == f"{url}:streamGenerateContent?alt=sse"


def test_the_callers_secret_is_not_in_the_url() -> None:
    """Google's APIs take one in the query too, and the gateway's is none of a provider's business."""
    url = url_for("vertex", PLACE, path=f"{STREAM}&key=secret&access_token=other", model="google/f-1")
    assert url.endswith(":streamGenerateContent?alt=sse")


@pytest.mark.parametrize("path", ["/models", "/models/flash", "/models/ft:gpt:me", "/chat/completions"])
def test_other_paths_name_no_model(path: str) -> None:
    """Such as that of one model of OpenAI's API, whose name may have colons."""
    assert model_path(path) is None


def test_a_request_is_read_by_its_path_and_goes_out_as_it_came() -> None:
    """The body has no place for a model, so nothing is put into it."""
    raw = b'{"contents": [], "generationConfig": {"maxOutputTokens": 7, "candidateCount": 2}}'
    body = read_body(raw, STREAM)
    assert (body.model, body.stream, body.output_tokens_max, body.answers) == ("flash", True, 7, 2)
    assert body.with_model("google/f-1") == raw
    for path in (ASK, STREAM.partition("?")[0]):
        assert not read_body(b"no JSON", path).stream


def test_only_models_with_the_feature_are_asked() -> None:
    """Whatever the adapter of their pool is."""
    own = PoolInfo("a/b/own", "eu", PLACE, models=(ModelOffer("m", "m", features=("gemini",)),))
    other = PoolInfo("a/b/other", "eu", PLACE, models=(ModelOffer("m", "m"),))
    needs = needs_of(STREAM, None)
    assert offer_for(own, "m", needs) is not None
    assert offer_for(other, "m", needs) is None


def test_a_stream_is_output_from_its_first_part() -> None:
    """Until then the request may still change its pool. A part that only has the signature of a thought is
    none."""
    reader = StreamReader(STREAM)
    assert reader.feed(ANNOUNCED + THOUGHTLESS) is Phase.WAITING
    assert reader.feed(HELLO) is Phase.OUTPUT


@pytest.mark.parametrize("reason", ["STOP", "MAX_TOKENS", "SAFETY"])
def test_a_stream_ends_with_the_reason_of_each_candidate(reason: str) -> None:
    """And with its body, as there is no last event. Its usage counts thoughts too."""
    end = END.replace(b"STOP", reason.encode())
    reader = StreamReader(STREAM)
    reader.feed(HELLO + end)
    assert reader.close(clean=True) is ResultClass.OK
    assert reader.usage == (3, 9)
    of_two = StreamReader(STREAM, answers=2)
    of_two.feed(HELLO + end)
    assert of_two.close(clean=True) is ResultClass.CUT


def test_a_stream_without_a_reason_is_cut() -> None:
    """It never counts as whole, however its body ends."""
    for clean in (True, False):
        reader = StreamReader(STREAM)
        reader.feed(HELLO)
        assert reader.close(clean=clean) is ResultClass.CUT


def test_a_blocked_prompt_is_the_callers_answer() -> None:
    """It has no candidate, and no other pool of the model would give one."""
    reader = StreamReader(STREAM)
    blocked = chunk(promptFeedback={"blockReason": "SAFETY"}, usageMetadata={"promptTokenCount": 3})
    assert reader.feed(blocked) is Phase.OUTPUT
    assert reader.close(clean=True) is ResultClass.OK
    assert reader.usage == (3, 0)


def test_an_error_before_any_output_is_a_failed_attempt() -> None:
    """After it the stream was cut."""
    reader = StreamReader(STREAM)
    assert reader.feed(ANNOUNCED + UNAVAILABLE) is Phase.ERROR
    assert reading_of_error(reader.error).result is ResultClass.SERVER_ERROR
    later = StreamReader(STREAM)
    later.feed(HELLO + UNAVAILABLE)
    assert later.close(clean=True) is ResultClass.CUT


def test_a_whole_answer_is_json_that_names_its_usage() -> None:
    """And an error with a good status is none."""
    assert must_be_json("POST", ASK, 200, "application/json")
    answer = {"candidates": [candidate({"text": "Hi"}, finishReason="STOP")], "usageMetadata": USAGE}
    judged = judge(json.dumps(answer).encode(), is_creation=True, retry_empty=False)
    assert (judged.reading.result, judged.usage) == (ResultClass.OK, (3, 9))
    error = b'{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}}'
    assert judge(error, is_creation=True, retry_empty=False).reading.result is ResultClass.THROTTLED
