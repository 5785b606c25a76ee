"""What an answer means: the reading of each status, and of each error in a body or a stream."""

from typing import Any

import pytest

from tieline.blame import Blame
from tieline.events import HEALTH_FAILURES, ResultClass
from tieline.providers.answers import (
    NO_ERROR,
    Topic,
    error_in,
    error_in_body,
    media_type,
    reading_of_error,
    reading_of_result,
    reading_of_status,
    status_of_error,
)


@pytest.mark.parametrize(
    ("status", "result", "blame", "elsewhere", "again"),
    [
        (200, "ok", "nobody", False, False),
        (204, "ok", "nobody", False, False),
        (302, "server_error", "pool", True, True),
        (400, "client_error", "caller", False, False),
        (401, "auth", "account", True, True),
        (402, "auth", "account", True, False),
        (403, "auth", "request", True, False),
        (404, "not_found", "request", True, False),
        (405, "client_error", "request", True, False),
        (408, "timeout", "pool", True, True),
        (409, "client_error", "moment", True, True),
        (410, "not_found", "model", True, False),
        (413, "client_error", "caller", False, False),
        (418, "client_error", "caller", False, False),
        (422, "client_error", "caller", False, False),
        (423, "client_error", "moment", True, True),
        (424, "server_error", "pool", True, True),
        (425, "client_error", "moment", True, True),
        (429, "throttled", "pool", True, True),
        (451, "auth", "request", True, False),
        (500, "server_error", "pool", True, True),
        (501, "client_error", "request", True, False),
        (503, "server_error", "pool", True, True),
        (529, "server_error", "pool", True, True),
        (601, "server_error", "pool", True, True),
    ],
)
def test_each_status_has_its_reading(
    status: int, result: str, blame: str, elsewhere: bool, again: bool
) -> None:
    """Only what is blamed on the pool, its model or its account can mark the pool."""
    reading = reading_of_status(status, names_model=True)
    assert (reading.result, reading.blame) == (result, blame)
    assert (reading.elsewhere, reading.again) == (elsewhere, again)
    assert (reading.result in HEALTH_FAILURES) <= (reading.blame is Blame.POOL)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, {"code": "model_not_found"}),
        (404, {"code": "DeploymentNotFound"}),
        (404, {"message": "The model `gpt-9` does not exist or you do not have access to it."}),
        (404, {"message": "Publisher Model `projects/p/models/x` was not found or your project..."}),
        (403, {"code": "model_not_found", "message": "Project does not have access to model x"}),
        (400, {"type": "invalid_request_error", "message": "The model 'x' does not exist"}),
        (410, {}),
    ],
)
def test_a_missing_model_is_read_from_codes_and_words(status: int, error: dict[str, str]) -> None:
    """It is the pool's only if the request named a model; a look-up of a model by its name is the request's
    own."""
    reading = reading_of_status(status, error_in({"error": error}), names_model=True)
    assert (reading.result, reading.blame) == (ResultClass.NOT_FOUND, Blame.MODEL)
    assert reading_of_status(status, error_in(error), names_model=False).blame is Blame.REQUEST


def test_a_404_of_a_deployments_own_url_is_about_the_model() -> None:
    """The URL names nothing else that could be missing."""
    reading = reading_of_status(404, names_model=True, names_deployment=True)
    assert reading.blame is Blame.MODEL
    assert reading_of_status(403, names_model=True, names_deployment=True).blame is Blame.REQUEST


@pytest.mark.parametrize(
    ("status", "error", "topic"),
    [
        (400, {"code": "context_length_exceeded"}, Topic.CONTEXT),
        (400, {"message": "This model's maximum context length is 8192 tokens."}, Topic.CONTEXT),
        (413, {"message": "prompt is too long: 300000 tokens > 200000 maximum"}, Topic.CONTEXT),
        (400, {"code": "unsupported_parameter", "param": "top_k"}, Topic.PARAMETER),
        (400, {"code": "unsupported_value", "param": "temperature"}, Topic.PARAMETER),
        (400, {"code": "unknown_parameter", "param": "foo.bar"}, Topic.PARAMETER),
        (429, {"code": "insufficient_quota"}, Topic.BILLING),
        (400, {"code": "billing_hard_limit_reached"}, Topic.BILLING),
        (400, {"code": "content_filter", "message": "the context window is fine"}, None),
        (400, {"message": "temperature must be below 2"}, None),
    ],
)
def test_some_errors_have_a_topic(status: int, error: dict[str, str], topic: Topic | None) -> None:
    """Those with one may be served by another pool; a content filter's may not."""
    reading = reading_of_status(status, error_in(error), names_model=True)
    assert reading.topic is topic
    assert reading.elsewhere == (topic is not None)
    assert reading.blame is (Blame.POOL if topic is Topic.BILLING else Blame.CALLER)


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"code": "x", "message": "words", "param": "p"}},
        {"type": "error", "code": "x", "message": "words", "param": "p"},
        {"type": "error", "error": {"type": "x", "message": "words", "param": "p"}},
        [{"error": {"code": "x", "message": "words", "param": "p"}}],
        {"code": "x", "message": "words", "param": "p"},
        {"detail": {"code": "x", "message": "words", "param": "p"}},
        {"error": {"code": None, "type": "x", "message": "words", "param": "p"}},
    ],
)
def test_every_shape_of_an_error_reads_alike(value: Any) -> None:
    """Nested, flat, listed, or with its names beside it."""
    error = error_in(value)
    assert (error.code, error.message, error.param) == ("x", "words", "p")


def test_texts_and_nonsense_are_errors_without_names() -> None:
    """An error may be a plain text; what is no error at all, or no JSON, gives none."""
    assert error_in({"error": "out of order"}).message == "out of order"
    assert error_in({"detail": "Not Found"}).message == "Not Found"
    assert error_in("out of order").names == ()
    nothing: tuple[Any, ...] = (None, 7, [], [1, 2], {})
    for value in nothing:
        assert error_in(value) == NO_ERROR
    assert error_in_body(b"<html>") == NO_ERROR
    assert error_in({"error": {"code": None, "type": 7, "innererror": {"code": "A"}}}).names == ("7", "a")


@pytest.mark.parametrize(
    ("error", "status", "result"),
    [
        ({"code": "rate_limit_exceeded"}, 429, "throttled"),
        ({"code": 429}, 429, "throttled"),
        ({"status": "429"}, 429, "throttled"),
        ({"type": "invalid_request_error", "code": "rate_limit_exceeded"}, 429, "throttled"),
        ({"code": "invalid_prompt", "type": "too_many_requests"}, 429, "throttled"),
        ({"type": "Rate_Limit_Error"}, 429, "throttled"),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}, 429, "throttled"),
        ({"type": "invalid_request_error", "code": "insufficient_quota"}, 429, "throttled"),
        ({"status": "RESOURCE_EXHAUSTED"}, 429, "throttled"),
        ({"code": "content_filter"}, 400, "client_error"),
        ({"type": "error", "code": "context_length_exceeded"}, 400, "client_error"),
        ({"type": "invalid_request_error"}, 400, "client_error"),
        ({"code": 400, "message": "no"}, 400, "client_error"),
        ({"code": "model_not_found"}, 404, "not_found"),
        ({"type": "authentication_error"}, 401, "auth"),
        ({"type": "overloaded_error"}, 529, "server_error"),
        ({"code": 503}, 503, "server_error"),
        ({"code": "never heard of"}, 500, "server_error"),
        ({}, 500, "server_error"),
        ("it broke", 500, "server_error"),
        (None, 500, "server_error"),
    ],
)
def test_an_error_without_a_status_has_that_of_its_names(error: Any, status: int, result: str) -> None:
    """A rate limit goes before everything else that an error names; what no table names is the server's."""
    assert reading_of_error(error).result == result
    assert status_of_error(error_in(error)) == status


def test_a_result_without_an_answer_has_a_reading() -> None:
    """Failures of health may be tried again; the caller's own may not."""
    for result in HEALTH_FAILURES:
        reading = reading_of_result(result)
        assert (reading.result, reading.blame, reading.again) == (result, Blame.POOL, True)
    assert not reading_of_result(ResultClass.CLIENT_ERROR).elsewhere


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("text/event-stream; charset=utf-8", "text/event-stream"),
        ("Application/JSON", "application/json"),
        (None, ""),
    ],
)
def test_a_media_type_is_read_without_its_parameters(header: str | None, kind: str) -> None:
    """In lower case; "" without a header."""
    assert media_type(header) == kind
