"""OpenTelemetry spans of a request. Off unless the client was made with ``tracing=``: then nothing of this
module is loaded, nor anything of OpenTelemetry.

    the caller's current span
    └─ chat chat-large                 one a request: what the caller asked for, and what it got
       ├─ POST /chat/completions       one an attempt: which pool was asked, and how that ended
       └─ POST /chat/completions

Both are of kind CLIENT. The request's span follows the conventions for generative AI ("Semantic conventions
for generative client AI spans", development status): it covers all attempts and ends when the answer has,
for a stream with its last event. An attempt's span follows those for HTTP clients. Tokens are on the span of
the request only, so that sums over spans count them once. The attempt's span goes to the provider as
``traceparent`` (W3C Trace Context), in place of the caller's own. Baggage is not sent.

No span holds a word of a prompt or an answer, and none a provider's own message, which may quote them.
"""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tieline._http.http1 import place_of
from tieline._http.messages import Headers, WireError, find
from tieline._request.attempt import Call
from tieline._request.reply import Opening, Reply
from tieline._routing.route import Route, Target
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.events import ResultClass
from tieline.model_paths import model_path
from tieline.providers.answers import NO_ERROR
from tieline.providers.streams import TokenCounts
from tieline.providers.whole import JSON_APIS, OFTEN_JSON_APIS
from tieline.table import Adapter

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

CANCELLED = "cancelled"  # the caller went away before there was an answer
ERRORS_FROM = 400
_APIS = JSON_APIS | OFTEN_JSON_APIS
_PROVIDERS: dict[Adapter, str] = {
    "azure": "azure.ai.openai",
    "azure_classic": "azure.ai.openai",
    "vertex": "gcp.vertex_ai",
    "oci": "oci.generative_ai",  # the conventions have no name for it
    "openai": "openai",
    "anthropic": "anthropic",
}


class Operation(Struct, frozen=True):
    """What the conventions call a request to one path. ``output``: the kind of what is made."""

    name: str
    output: str = ""
    api: str = ""


_OPERATIONS = {
    "/chat/completions": Operation("chat", api="chat_completions"),
    "/responses": Operation("chat", api="responses"),
    "/messages": Operation("chat"),
    "/completions": Operation("text_completion"),
    "/embeddings": Operation("embeddings"),
    "/images/generations": Operation("generate_content", output="image"),
    "/images/edits": Operation("generate_content", output="image"),
    "/images/variations": Operation("generate_content", output="image"),
    "/audio/speech": Operation("generate_content", output="speech"),
    "/audio/transcriptions": Operation("generate_content", output="text"),
    "/audio/translations": Operation("generate_content", output="text"),
}

_OF_VERBS = {
    "generateContent": Operation("generate_content"),
    "streamGenerateContent": Operation("generate_content"),
    "embedContent": Operation("embeddings"),
}


class Tracing:
    """Where spans go. ``provider``: True for OpenTelemetry's global one, else a tracer provider. Raises
    ConfigurationError for anything else, MissingExtraError without opentelemetry-api."""

    def __init__(self, provider: "bool | TracerProvider") -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise MissingExtraError("opentelemetry-api", "opentelemetry") from None
        if provider is True:
            provider = trace.get_tracer_provider()
        if isinstance(provider, bool) or not callable(getattr(provider, "get_tracer", None)):
            raise ConfigurationError(f"tracing={provider!r}: expected True, or a tracer provider")
        self.trace = trace
        self.tracer: Tracer = provider.get_tracer("tieline")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, call: Call) -> "RequestSpan":
        """The span of a request. Its parent is the span that is current now; without one, what the request's
        own headers name, as those of a gateway do that passes them on."""
        parent = None
        if not self.trace.get_current_span().get_span_context().is_valid:
            names = ("traceparent", "tracestate")
            headers = {name: find(call.request.headers, name.encode("ascii")) or "" for name in names}
            parent = self._propagator.extract(headers) if headers["traceparent"] else None
        return RequestSpan(self, call, parent)

    def headers(self, context: "Context") -> Headers:
        """What tells a provider about a span."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in carrier.items()]

    def fail(self, span: "Span", error_type: str, text: str | None = None) -> None:
        """The span's operation ended in an error. ``text``: own words, no provider's."""
        span.set_attribute("error.type", error_type)
        span.set_status(self.trace.StatusCode.ERROR, text)


class RequestSpan:
    """One request. ``replied`` or ``left`` ends it."""

    def __init__(self, tracing: Tracing, call: Call, parent: "Context | None") -> None:
        self.tracing = tracing
        self.call = call
        self.place = f"{call.request.method} {_place(call.request.path)}".rstrip()
        operation = _operation(call.request.path) if call.request.method == "POST" else None
        name = f"{operation.name} {call.body.model}".rstrip() if operation is not None else self.place
        self.span: Span = tracing.tracer.start_span(
            name, parent, tracing.trace.SpanKind.CLIENT, _asked(call, operation)
        )
        self.context = tracing.trace.set_span_in_context(self.span)
        self.attempts = 0
        self.statuses: set[int] = set()  # that providers have answered with
        self.last_error = ""

    def attempt(self, route: Route) -> "AttemptSpan":
        """The span of its next attempt."""
        self.attempts += 1
        return AttemptSpan(self, route)

    def usage(self, counts: TokenCounts | None, answer_id: str) -> None:
        """What the answer that is handed on has cost, and its id, as far as it names them."""
        if counts is not None:
            self.span.set_attribute("gen_ai.usage.input_tokens", counts[0])
            self.span.set_attribute("gen_ai.usage.output_tokens", counts[1])
        if answer_id:
            self.span.set_attribute("gen_ai.response.id", answer_id)

    def replied(self, reply: Reply) -> None:
        """What the caller gets. Ends the span, for an answer that is on its way together with that."""
        span, reason = self.span, find(reply.headers, b"x-tieline-reason") or ""
        span.set_attribute("http.response.status_code", reply.status)
        span.set_attribute("tieline.reason", reason)
        span.set_attribute("tieline.retries", max(0, self.attempts - 1))
        if reply.relay is not None:
            reply.relay.also(self._ended)
        elif reply.status < ERRORS_FROM:
            self._ended(ResultClass.OK)
        else:
            is_providers_own = reply.status in self.statuses
            self.tracing.fail(span, str(reply.status) if is_providers_own else self.last_error or reason)
            span.end()

    def left(self) -> None:
        """The caller has gone away; nothing failed."""
        self.span.set_attribute("tieline.outcome", CANCELLED)
        self.span.end()

    def _ended(self, result: ResultClass) -> None:
        if result is not ResultClass.OK:
            self.tracing.fail(self.span, result.value)
        self.span.end()


class AttemptSpan:
    """One attempt. ``headers`` go to the provider; ``ended`` or ``left`` ends it."""

    def __init__(self, request: RequestSpan, route: Route) -> None:
        tracing, attributes = request.tracing, _target(route.target)
        request.span.set_attributes(attributes)  # those of the last attempt stay
        request.span.set_attribute("gen_ai.provider.name", _PROVIDERS[route.target.adapter])
        attributes["http.request.method"] = request.call.request.method
        attributes["tieline.reason"] = route.reason.value
        if route.target.name:
            attributes["tieline.model"] = route.target.name
        if request.attempts > 1:
            attributes["http.request.resend_count"] = request.attempts - 1
        self._request = request
        self._span: Span = tracing.tracer.start_span(
            request.place, request.context, tracing.trace.SpanKind.CLIENT, attributes
        )
        self.headers = tracing.headers(tracing.trace.set_span_in_context(self._span))

    def ended(self, opening: Opening, first_output_s: float) -> None:
        """How far it came. Ends the span, for an answer that is on its way together with that.
        ``first_output_s``: from sending to the first output of a stream."""
        request, reader = self._request, opening.reader
        if opening.status:
            self._span.set_attribute("http.response.status_code", opening.status)
            request.statuses.add(opening.status)
        if opening.result is not ResultClass.OK or opening.reply is None:
            self._failed(opening)
        elif opening.reply.relay is None:
            request.usage(opening.usage, opening.answer_id)
            self._ended(ResultClass.OK)
        else:
            if reader is not None and not opening.is_held:
                request.span.set_attribute("gen_ai.response.time_to_first_chunk", first_output_s)

            def finish(result: ResultClass) -> None:
                if reader is not None:
                    request.usage(reader.usage, reader.answer_id)
                self._ended(result)

            opening.reply.relay.also(finish)

    def left(self) -> None:
        """The caller has gone away while it was on its way."""
        self._span.set_attribute("tieline.outcome", CANCELLED)
        self._span.end()

    def _failed(self, opening: Opening) -> None:
        has_status = opening.status >= ERRORS_FROM
        self._request.last_error = str(opening.status) if has_status else opening.result.value
        is_own = opening.reply is None and opening.error == NO_ERROR
        self._request.tracing.fail(self._span, self._request.last_error, opening.text if is_own else None)
        self._end(opening.result)

    def _ended(self, result: ResultClass) -> None:
        if result is not ResultClass.OK:
            self._request.tracing.fail(self._span, result.value)
        self._end(result)

    def _end(self, result: ResultClass) -> None:
        for span in (self._span, self._request.span):
            span.set_attribute("tieline.outcome", result.value)
        self._span.end()


def _asked(call: Call, operation: Operation | None) -> dict[str, Any]:
    """What the conventions say of a request that is for a model; nothing of any other."""
    if operation is None:
        return {}
    body = call.body
    attributes: dict[str, Any] = {"gen_ai.operation.name": operation.name}
    optional = {
        "gen_ai.request.model": body.model,
        "gen_ai.request.stream": body.stream,
        "gen_ai.request.max_tokens": body.output_tokens_max,
        "gen_ai.request.choice.count": body.answers if body.answers != 1 else None,
        "gen_ai.output.type": operation.output,
        "openai.api.type": operation.api,
    }
    return attributes | {name: value for name, value in optional.items() if value}


def _target(target: Target) -> dict[str, Any]:
    attributes: dict[str, Any] = {"tieline.pool": target.pool, "tieline.generation": target.generation}
    try:
        _, host, port = place_of(target.url).key
    except WireError:  # the attempt will say that the table's URL can't be used
        return attributes
    return attributes | {"server.address": host, "server.port": port}


def _operation(path: str) -> Operation | None:
    if (named := model_path(path)) is not None:
        return _OF_VERBS.get(named.verb)
    return _OPERATIONS.get(_path(path))


def _path(path: str) -> str:
    return path.partition("?")[0].rstrip("/")


def _place(path: str) -> str:
    """The path without what differs from request to request: known ones, and the first word of others."""
    path = _path(path)
    if path in _OPERATIONS:
        return path
    api = path.strip("/").partition("/")[0]
    return f"/{api}" if api in _APIS else ""
