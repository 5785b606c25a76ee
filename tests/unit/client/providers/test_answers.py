"""What an answer means: the class of each status and of each error inside a stream."""

import pytest

from tieline.events import HEALTH_FAILURES, ResultClass
from tieline.providers.answers import classify_error, classify_status, media_type


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "ok"),
        (204, "ok"),
        (302, "server_error"),
        (400, "client_error"),
        (401, "auth"),
        (402, "client_error"),
        (403, "auth"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "client_error"),
        (413, "client_error"),
        (422, "client_error"),
        (429, "throttled"),
        (500, "server_error"),
        (503, "server_error"),
        (529, "server_error"),
        (601, "server_error"),
    ],
)
def test_each_status_has_its_class(status: int, result: str) -> None:
    """A redirect is a broken endpoint; of 4xx only 408 speaks about health."""
    assert classify_status(status, names_model=True) == result
    speaks_about_health = status in (302, 408) or status >= 500
    assert (result in HEALTH_FAILURES) == speaks_about_health


def test_a_404_without_a_model_is_the_callers() -> None:
    """A path or an id that is not there says nothing about a pool."""
    assert classify_status(404, names_model=False) is ResultClass.CLIENT_ERROR


@pytest.mark.parametrize(
    ("error", "result"),
    [
        ({"code": "rate_limit_exceeded"}, "throttled"),
        ({"code": 429}, "throttled"),
        ({"status": "429"}, "throttled"),
        ({"type": "Rate_Limit_Error"}, "throttled"),
        ({"type": "invalid_request_error", "code": "insufficient_quota"}, "throttled"),
        ({"code": "content_filter"}, "client_error"),
        ({"type": "invalid_request_error"}, "client_error"),
        ({"code": "boom"}, "server_error"),
        ({}, "server_error"),
        ("boom", "server_error"),
        (None, "server_error"),
    ],
)
def test_errors_inside_a_stream_have_their_class(error: object, result: str) -> None:
    """A rate limit is about capacity and decides over other names; a filtered prompt is the caller's; the
    rest is the server's."""
    assert classify_error(error) == result


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Text/Event-Stream; charset=utf-8", "text/event-stream"), ("application/json", "application/json")],
)
def test_a_media_type_is_read_without_its_parameters(header: str, expected: str) -> None:
    """In lower case; without a header it is empty."""
    assert media_type(header) == expected
    assert media_type(None) == ""
