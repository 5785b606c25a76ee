"""What Envoy's lines are read as: the classes and the blame are the client's own."""

from base64 import b64encode
from collections.abc import Mapping

import pytest

from controller.envoy.bootstrap import REQUEST
from controller.envoy.outcomes import AttemptEnd, OutcomeLineError, RequestEnd, lines_in, read_line
from controller.envoy.plan import RouteName
from controller.envoy.pools import ATTEMPT
from tieline import ResultClass
from tieline.blame import Blame

POOL = "azure/uksouth/gpt"
ANSWERED: Mapping[str, str] = {
    "pool": POOL,
    "status": "200",
    "details": "via_upstream",
    "first_ms": "12",
    "whole_ms": "80",
    "content_type": "application/json",
    "retry_after_ms": "-",
    "retry_after": "-",
    "body_bytes": "300",
    "usage": "30+12",
    "events": "0",
    "done": "",
    "error": "",
    "workload": "chat",
    "origin": "eu",
    "model": "chat-large",
    "stream": "",
}
STREAMED = {"stream": "1", "content_type": "text/event-stream; charset=utf-8"}


def attempt(**fields: str) -> AttemptEnd:
    """The line of an attempt with these fields instead of a good answer's."""
    end = read_line("\t".join((ATTEMPT, *{**ANSWERED, **fields}.values())))
    assert isinstance(end, AttemptEnd)
    return end


def field(number: int, value: bytes) -> bytes:
    """A protobuf field with a length."""
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([number << 3 | 2]) + length + value


def message(*lines: str) -> bytes:
    """Lines as OTLP has them, each among fields of every other kind."""
    others = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1d" + bytes(4)
    records = b"".join(field(2, others + field(5, field(1, line.encode()))) for line in lines)
    return field(1, field(1, b"resource") + field(2, others + records))


def test_lines_are_found_in_a_message() -> None:
    """In their order, whatever else the message has, and however long they are."""
    assert lines_in(message("a\tb", "é", "x" * 300)) == ["a\tb", "é", "x" * 300]
    assert lines_in(b"") == []


@pytest.mark.parametrize("data", [message("abc")[:-1], b"\x0a\xff", b"\x0b", b"\x0a" + b"\xff" * 11])
def test_a_broken_message_is_refused(data: bytes) -> None:
    """It ends too soon, or has fields of no known kind."""
    with pytest.raises(OutcomeLineError):
        lines_in(data)


def test_a_good_answer_has_its_load_and_its_times() -> None:
    """The first byte of a stream, the end of a whole answer."""
    whole = attempt()
    assert (whole.pool, whole.route, whole.model) == (POOL, RouteName("chat", "eu"), "chat-large")
    assert whole.outcome is not None
    assert whole.outcome.result is ResultClass.OK
    assert (whole.body_bytes, whole.usage, whole.events) == (300, (30, 12), 0)
    assert (whole.outcome.first_token_ms, whole.outcome.whole_ms) == (None, 80.0)
    streamed = attempt(**STREAMED, done="1", usage="-", events="9")
    assert (streamed.usage, streamed.events) == (None, 9)
    assert streamed.outcome is not None
    assert (streamed.outcome.first_token_ms, streamed.outcome.whole_ms) == (12.0, None)


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"status": "503"}, ResultClass.SERVER_ERROR),
        ({"status": "429"}, ResultClass.THROTTLED),
        ({"status": "401"}, ResultClass.AUTH),
        ({"status": "400"}, ResultClass.CLIENT_ERROR),
        ({"status": "408"}, ResultClass.TIMEOUT),
        ({"status": "504", "details": "upstream_per_try_timeout"}, ResultClass.TIMEOUT),
        ({"status": "200", "details": "stream_idle_timeout"}, ResultClass.CUT),
        ({"status": "504", "details": "stream_idle_timeout"}, ResultClass.TIMEOUT),
        (
            {"status": "503", "details": "upstream_reset_before_response_started{connection_failure}"},
            ResultClass.CONNECT,
        ),
        ({"status": "503", "details": "no_healthy_upstream"}, ResultClass.CONNECT),
        ({"details": "upstream_reset_after_response_started{protocol_error}"}, ResultClass.CUT),
        ({"status": "401", "details": "failed_to_inject_credential"}, ResultClass.AUTH),
        (STREAMED, ResultClass.CUT),
        ({**STREAMED, "done": "1"}, ResultClass.OK),
    ],
)
def test_each_end_has_the_clients_class(fields: dict[str, str], result: ResultClass) -> None:
    """A stream without its own last event was cut, even where its body ended well."""
    outcome = attempt(**fields).outcome
    assert outcome is not None
    assert outcome.result is result


def test_an_error_is_read_as_the_client_reads_it() -> None:
    """By its own words: which model is missing, or that it is only this request."""
    body = b'{"error": {"code": "model_not_found", "message": "no such model"}}'
    outcome = attempt(status="404", error=b64encode(body).decode()).outcome
    assert outcome is not None
    assert (outcome.result, outcome.blame) == (ResultClass.NOT_FOUND, Blame.MODEL)
    plain = attempt(status="404").outcome
    assert plain is not None
    assert plain.blame is Blame.REQUEST


@pytest.mark.parametrize("details", ["downstream_remote_disconnect", "http2.remote_reset", "-"])
def test_a_caller_that_went_away_says_nothing_about_the_pool(details: str) -> None:
    """Whatever had come by then."""
    assert attempt(details=details).outcome is None


@pytest.mark.parametrize(
    ("fields", "wait_ms"),
    [
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1_500),
        ({"retry_after": "2"}, 2_000),
        ({"retry_after": "99999"}, 300_000),
        ({"retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"}, None),
    ],
)
def test_what_a_pool_asks_to_wait_is_read(fields: dict[str, str], wait_ms: int | None) -> None:
    """Milliseconds first, and not for ever."""
    outcome = attempt(status="429", **fields).outcome
    assert outcome is not None
    assert outcome.retry_after_ms == wait_ms


def test_requests_are_what_was_asked_for() -> None:
    """Those that Envoy answered by itself as the table wants it were shed; others had no route."""
    line = [REQUEST, "chat/eu/chat-large", "200", "via_upstream", "120", "50", "chat", "eu", "chat-large"]
    assert read_line("\t".join(line)) == RequestEnd(
        RouteName("chat", "eu"), 120, output_tokens_max=50, was_shed=False
    )
    line[1], line[5] = "shed chat/eu", "-"
    end = read_line("\t".join(line))
    assert isinstance(end, RequestEnd)
    assert (end.was_shed, end.output_tokens_max) == (True, None)
    line[1] = "nowhere"
    assert read_line("\t".join(line)) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "other\t1",
        "\t".join((ATTEMPT, *ANSWERED.values(), "one more")),
        "\t".join((ATTEMPT, *{**ANSWERED, "status": "x"}.values())),
        "\t".join((ATTEMPT, *{**ANSWERED, "status": "500", "error": "%%%="}.values())),
    ],
)
def test_a_line_of_another_form_is_refused(line: str) -> None:
    """A caller can make one, by a tab in a header."""
    with pytest.raises(OutcomeLineError):
        read_line(line)
