"""The spans of a request, as OpenTelemetry's own SDK exports them: names, kinds, parents, attributes, end."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags

from tests.unit.client.exchanging import DONE, ROLE, WORD, Bench, Does, answers, fails, streams
from tests.unit.client.made_tables import MODEL, Time, part, router
from tieline._http.messages import HttpRequest, StreamBrokenError
from tieline._request import tracing
from tieline._request.exchange import Exchange
from tieline._request.tracing import Tracing
from tieline.errors import ConfigurationError
from tieline.events import ResultClass
from tieline.providers import SHAPES

A, B = "a/r/x", "b/r/x"
BOTH = {A: 700_000, B: 300_000}
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
QUOTING = b'{"error":{"message":"not allowed: where is the gold","code":"content_policy"}}'
CONVENTIONS = (gen_ai_attributes, openai_attributes, error_attributes, http_attributes, server_attributes)
KNOWN = {value for module in CONVENTIONS for value in vars(module).values() if isinstance(value, str)}


class Traced(Bench):
    """Pools ``a`` and ``b``, a request to which is traced; the first goes to ``a``."""

    def __init__(self, weights: dict[str, int] | None = None, **pools: Does) -> None:
        time = Time()
        super().__init__(router(part(weights or BOTH), time), time, **pools)
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tools.tracing = Tracing(self.provider)

    def spans(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """(the request's, those of its attempts in order); each has ended."""
        spans = self.exporter.get_finished_spans()
        (request,) = (span for span in spans if span.name.startswith(("chat ", "GET", "embeddings ")))
        attempts = [span for span in spans if span is not request]
        assert all(span.parent == request.context for span in attempts)
        assert all(span.kind is SpanKind.CLIENT for span in spans)
        return request, sorted(attempts, key=lambda span: span.start_time or 0)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """All of a span's; each is in the conventions or Tieline's own."""
    values = dict(span.attributes or {})
    assert {name for name in values if not name.startswith("tieline.")} <= KNOWN
    return values


def test_a_request_and_its_attempt() -> None:
    """What was asked for, who served it under which table, what it cost; nothing has failed."""
    bench = Traced(a=answers())
    assert bench.ask(max_tokens=9, n=2, messages=[]).status == 200
    request, (attempt,) = bench.spans()
    assert (request.name, attempt.name) == (f"chat {MODEL}", "POST /chat/completions")
    assert attributes(request) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "http.response.status_code": 200,
        "openai.api.type": "chat_completions",
        "server.address": "a.r.x",
        "server.port": 443,
        "tieline.pool": A,
        "tieline.generation": "test:1:1",
        "tieline.outcome": "ok",
        "tieline.reason": "weighted",
        "tieline.retries": 0,
    }
    assert attributes(attempt) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "a.r.x",
        "server.port": 443,
        "tieline.model": "big",
        "tieline.pool": A,
        "tieline.generation": "test:1:1",
        "tieline.outcome": "ok",
        "tieline.reason": "weighted",
    }
    assert {span.status.status_code for span in (request, attempt)} == {StatusCode.UNSET}


def test_an_attempt_that_fails_is_an_error_and_its_request_is_none() -> None:
    """Each attempt says how it ended; the request has the pool that served it, and how many went before."""
    bench = Traced(a=fails(ResultClass.CONNECT), b=answers())
    assert bench.ask().status == 200
    request, (first, second) = bench.spans()
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "made to fail: connect")
    assert attributes(first)["error.type"] == attributes(first)["tieline.outcome"] == "connect"
    assert attributes(second)["http.request.resend_count"] == 1
    assert attributes(second)["tieline.reason"] == attributes(request)["tieline.reason"] == "failover"
    assert (attributes(request)["tieline.pool"], attributes(request)["tieline.retries"]) == (B, 1)
    assert "error.type" not in attributes(request)
    assert request.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("does", "status", "error_type"),
    [
        (answers(400, QUOTING), 400, "400"),
        (answers(503, QUOTING), 503, "503"),
        (fails(ResultClass.TIMEOUT), 504, "timeout"),
        (answers(200, b""), 503, "server_error"),
        (
            streams(b'data: {"error":{"message":"not allowed","code":"overloaded_error"}}\n\n'),
            529,
            "server_error",
        ),
    ],
)
def test_a_request_that_fails(does: Does, status: int, error_type: str) -> None:
    """The type is the provider's status, else the class of the failure. No provider's message shows, as it
    may quote the prompt."""
    bench = Traced({A: 1_000_000}, a=does)
    bench.settings = bench.settings.__class__(attempts_max=1)
    assert bench.ask(messages=[{"role": "user", "content": "where is the gold"}]).status == status
    request, (attempt,) = bench.spans()
    for span in (request, attempt):
        assert attributes(span)["error.type"] == error_type
        assert span.status.status_code is StatusCode.ERROR
    assert attributes(request)["http.response.status_code"] == status
    texts = str([(span.attributes, span.status.description, span.events) for span in (request, attempt)])
    assert "gold" not in texts
    assert "not allowed" not in texts


def test_a_request_that_goes_nowhere() -> None:
    """It has no attempt; the type is the reason why."""
    bench = Traced()
    assert bench.send(HttpRequest("POST", "/chat/completions", [], b'{"model":"other"}', {})).status == 503
    request, attempts = bench.spans()
    assert attempts == []
    assert attributes(request)["error.type"] == attributes(request)["tieline.reason"] == "no_model"


def test_a_stream_ends_its_spans_with_its_last_event() -> None:
    """Not when its first output was handed on; then the tokens are known."""
    bench = Traced(a=streams(ROLE, WORD, USAGE, DONE))
    reply = bench.ask(stream=True)
    assert reply.relay is not None
    assert bench.exporter.get_finished_spans() == ()
    while data := reply.relay.answer.read():
        reply.relay.take(data)
    request, (attempt,) = bench.spans()
    assert attributes(request)["gen_ai.usage.output_tokens"] == 6
    assert attributes(request)["gen_ai.request.stream"] is True
    assert attributes(request)["gen_ai.response.time_to_first_chunk"] == 0.0
    assert {attributes(span)["tieline.outcome"] for span in (request, attempt)} == {"ok"}


def test_a_stream_that_breaks_is_an_error_of_both() -> None:
    """After its first output there is no other attempt."""
    bench = Traced(a=streams(ROLE, WORD))
    reply = bench.ask(stream=True)
    assert reply.relay is not None
    assert not reply.relay.answer.read()
    with pytest.raises(StreamBrokenError):
        reply.relay.over()
    reply.relay.close()
    for span in (bench.spans()[0], *bench.spans()[1]):
        assert (attributes(span)["error.type"], span.status.status_code) == ("cut", StatusCode.ERROR)


def test_a_stream_that_came_whole_ends_at_once() -> None:
    """One that had come to its end before anything was handed on."""
    bench = Traced(a=streams(ROLE + WORD + USAGE + DONE))
    bench.ask(stream=True)
    request, _ = bench.spans()
    assert attributes(request)["gen_ai.usage.input_tokens"] == 5


def test_a_caller_that_goes_away_is_no_error() -> None:
    """Its spans end all the same."""
    bench = Traced(a=answers())
    body = b'{"model":"%b"}' % MODEL.encode()
    exchange = Exchange(bench.tools, HttpRequest("POST", "/chat/completions", [], body, {})).run()
    next(exchange)
    exchange.close()
    request, (attempt,) = bench.spans()
    for span in (request, attempt):
        assert attributes(span)["tieline.outcome"] == "cancelled"
        assert span.status.status_code is StatusCode.UNSET


def test_the_callers_span_is_the_parent_and_the_attempts_own_goes_on() -> None:
    """The provider hears of the attempt's span, and of no other; the caller's own header is replaced."""
    bench = Traced(a=fails(ResultClass.CONNECT), b=answers())
    tracer = bench.provider.get_tracer("an application")
    named = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "baggage": "user=7"}
    with tracer.start_as_current_span("job") as job:
        bench.ask(headers=named)
    spans = {span.name: span for span in bench.exporter.get_finished_spans()}
    assert spans[f"chat {MODEL}"].parent == job.get_span_context()
    attempts = [span for span in bench.exporter.get_finished_spans() if span.name.startswith("POST")]
    for attempt, (_pool, sent) in zip(attempts, bench.sent, strict=True):
        values = [value.decode() for name, value in sent.headers if name.lower() == b"traceparent"]
        context = attempt.get_span_context()
        assert context is not None
        (value,) = values
        assert value.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


def test_without_a_current_span_the_headers_name_the_parent() -> None:
    """A gateway that passes on its caller's headers keeps its caller's trace whole."""
    bench = Traced(a=answers())
    bench.ask(headers={"traceparent": f"00-{7:032x}-{9:016x}-01"})
    request, (attempt,) = bench.spans()
    assert request.parent is not None
    assert (request.parent.trace_id, request.parent.span_id) == (7, 9)
    assert attempt.parent is not None
    assert attempt.parent.trace_id == 7
    bench.exporter.clear()
    bench.ask(headers={"traceparent": "nonsense"})
    assert bench.spans()[0].parent is None


def test_a_request_for_no_model_is_an_http_span() -> None:
    """A list of files is no inference; what differs from request to request is not in a name."""
    bench = Traced(a=answers(200, b'{"object":"list","data":[]}'))
    bench.send(HttpRequest("GET", "/files?limit=2", [], b"", {}))
    (attempt, request) = bench.exporter.get_finished_spans()
    assert (request.name, attempt.name) == ("GET /files", "GET /files")
    assert "gen_ai.operation.name" not in attributes(request)
    bench.exporter.clear()
    bench.send(HttpRequest("GET", "/files/file-123/content", [], b"", {}))
    assert {span.name for span in bench.exporter.get_finished_spans()} == {"GET /files"}


def test_a_span_that_is_not_recorded_costs_no_request() -> None:
    """A sampler may drop it; the provider is told so."""
    bench = Traced(a=answers())
    bench.tools.tracing = Tracing(TracerProvider(sampler=ALWAYS_OFF))
    assert bench.ask().status == 200
    headers = dict(bench.sent[0][1].headers)
    assert not int(headers[b"traceparent"][-2:], 16) & TraceFlags.SAMPLED


def test_each_adapter_has_a_providers_name() -> None:
    """By the conventions' own names where they have one."""
    assert tracing._PROVIDERS.keys() == SHAPES.keys()
    names = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    assert set(tracing._PROVIDERS.values()) - names == {"oci.generative_ai"}
    operations = {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    assert {operation.name for operation in tracing._OPERATIONS.values()} <= operations


def test_what_is_no_provider_is_refused() -> None:
    """The global one is True."""
    for wrong in ("on", 1, False):
        with pytest.raises(ConfigurationError, match=r"tracing=.*expected True, or a tracer provider"):
            Tracing(wrong)  # type: ignore[arg-type]
    assert Tracing(True).tracer is not None
    assert trace.get_tracer_provider() is not None


def test_without_tracing_nothing_is_imported() -> None:
    """A request of a client that is not traced loads neither OpenTelemetry nor the module of spans."""
    program = """
import sys, tieline
from tieline.testing import FakePools
fake = FakePools({"azure/swedencentral/gpt-4o": 1}, model="m")
with tieline.Client(fake, workload="chat", origin="eu") as client:
    client.ready()
    with client.http_client(library="httpx", base_url=client.base_url) as http:
        assert http.post("/chat/completions", json={"model": "m", "messages": []}).status_code == 200
loaded = [name for name in sys.modules if name.startswith("opentelemetry") or name.endswith("tracing")]
assert not loaded, loaded
"""
    child = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
