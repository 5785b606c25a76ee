"""Sans I/O. One request as Envoy tells it: each message of its stream in, what is to be answered out.

    request_headers    the model is in a header, or there is no body to read: pick, and answer
                       BUFFERED: go on, and pick when the body is there
                       FULL_DUPLEX_STREAMED: say nothing until the whole body is there
    request_body       pick by the model that the body names; the pool's own name for it takes its place
    response_headers   status and time: the outcome, told to the pool that answered
    response_body      handed on as it comes
    (the end)          without response_headers: the caller went away

Envoy's ``protocol_config``, in the first message, says in which mode it sends bodies.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import msgspec

import tieline
from picker.answers import Answers, refusal, streamed
from picker.choosing import Desk, Ended, Journey, Request
from picker.messages import ONE_OF
from tieline.errors import UNDECODABLE

SUBSET_NAMESPACE, SUBSET_KEY = "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset"
SERVED_NAMESPACE, SERVED_KEY = "envoy.lb", "x-gateway-destination-endpoint-served"
UPSTREAM_TIME = "x-envoy-upstream-service-time"  # Envoy adds it to what a pool answered
_TOO_LARGE = tieline.Shed(tieline.Reason.BAD_OPTION, "the body is larger than the picker reads")
_splitter = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


class BodyMode(IntEnum):
    """``ProcessingMode.BodySendMode``."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4


_WHOLE_BODY = (BodyMode.BUFFERED, BodyMode.BUFFERED_PARTIAL, BodyMode.FULL_DUPLEX_STREAMED)


class Exchange:
    """``take`` each message, then ``end``. ``note`` hears of what happened, in words of the metrics."""

    __slots__ = (
        "_answers",
        "_began_ms",
        "_body",
        "_body_max_bytes",
        "_clock",
        "_desk",
        "_headers",
        "_journey",
        "_mode",
        "_model_header",
        "_note",
        "_pieces",
        "_response_mode",
        "_size_bytes",
        "_subset",
        "is_refused",
    )

    def __init__(
        self,
        desk: Desk,
        answers: Answers,
        *,
        clock: Callable[[], int],
        note: Callable[[str], None],
        model_header: str,
        body_max_bytes: int,
    ) -> None:
        self._desk, self._answers, self._clock, self._note = desk, answers, clock, note
        self._model_header, self._body_max_bytes = model_header, body_max_bytes
        self._headers: dict[str, str] = {}
        self._subset: frozenset[str] | None = None
        self._mode = self._response_mode = BodyMode.NONE
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._journey: Journey | None = None
        self._began_ms = 0
        self.is_refused = False

    def take(self, message: Any) -> Iterator[bytes]:
        """What is to be answered to this message, in order."""
        part = message.WhichOneof(ONE_OF)
        if part == "request_headers":
            yield from self._request_headers(message)
        elif part == "request_body":
            yield from self._request_body(message.request_body)
        elif part == "response_headers":
            yield self._response_headers(message)
        elif part == "response_body" and self._response_mode is BodyMode.FULL_DUPLEX_STREAMED:
            yield from streamed(
                "response_body", message.response_body.body, ends=message.response_body.end_of_stream
            )
        elif part == "request_trailers":
            if self._journey is None and not self.is_refused:
                yield from self._pick_by_body(ends=False)
            yield self._answers.go_on("request_trailers")
        elif part is not None:
            yield self._answers.go_on(part)

    def end(self, *, drained: bool = False) -> None:
        """Envoy says no more. ``drained``: because the picker stops; then it is nobody's fault."""
        if self._journey is None:
            return
        if drained:
            self._journey.leave()
        else:
            self._journey.end(Ended(0, self._clock() - self._began_ms))

    def _request_headers(self, message: Any) -> Iterator[bytes]:
        headers, config = message.request_headers, message.protocol_config
        self._began_ms = self._clock()
        self._headers = _read_headers(headers.headers.headers)
        self._subset = _subset(message.metadata_context)
        self._mode, self._response_mode = _mode(config.request_body_mode), _mode(config.response_body_mode)
        waits = self._mode in _WHOLE_BODY and not headers.end_of_stream
        if not waits or self._headers.get(self._model_header):
            yield self._picked(self._headers.get(self._model_header, ""), _length(self._headers))
        elif self._mode is not BodyMode.FULL_DUPLEX_STREAMED:
            yield self._answers.go_on("request_headers")

    def _request_body(self, message: Any) -> Iterator[bytes]:
        is_duplex = self._mode is BodyMode.FULL_DUPLEX_STREAMED
        if self._journey is not None or self.is_refused:
            if is_duplex:
                yield from streamed("request_body", message.body, ends=message.end_of_stream)
            else:
                yield self._answers.go_on("request_body")
            return
        self._pieces.append(message.body)
        self._size_bytes += len(message.body)
        if self._size_bytes > self._body_max_bytes:
            yield self._refused(_TOO_LARGE)
        elif message.end_of_stream or not is_duplex:
            yield from self._pick_by_body(ends=message.end_of_stream)

    def _pick_by_body(self, *, ends: bool) -> Iterator[bytes]:
        """The body is there: pick by the model that it names, and hand it on."""
        body, self._pieces = b"".join(self._pieces), []
        fields = _fields(body)
        model = _model_of(fields)
        answer = self._picked(model, len(body))
        if self._journey is None:
            yield answer
            return
        name = self._journey.hops[0].route.model
        is_renamed = bool(model and name and name != model)
        renamed = msgspec.json.encode({**fields, "model": name}) if is_renamed else body
        if self._mode is BodyMode.FULL_DUPLEX_STREAMED:
            yield answer
            yield from streamed("request_body", renamed, ends=ends)
        else:
            yield self._answers.destination_and_body(
                self._journey.destination, renamed if is_renamed else None
            )

    def _picked(self, model: str, body_bytes: int) -> bytes:
        request = Request(self._headers, model, body_bytes, subset=self._subset)
        journey = self._desk.pick(request, self._began_ms)
        if isinstance(journey, tieline.Shed):
            return self._refused(journey)
        self._journey = journey
        self._note(journey.destination.reason)
        return self._answers.destination(journey.destination)

    def _refused(self, shed: tieline.Shed) -> bytes:
        self.is_refused = True
        self._note(str(shed.reason))
        return refusal(shed)

    def _response_headers(self, message: Any) -> bytes:
        if self._journey is None:
            return self._answers.go_on("response_headers")
        headers = _read_headers(message.response_headers.headers.headers)
        status = headers.get(":status", "")
        ended = Ended(
            int(status) if status.isdigit() else 500,
            self._clock() - self._began_ms,
            by_envoy=UPSTREAM_TIME not in headers,
            endpoint=_served(message.metadata_context),
            is_stream=headers.get("content-type", "").startswith("text/event-stream"),
            retry_after_ms=_retry_after_ms(headers.get("retry-after-ms", ""), headers.get("retry-after", "")),
        )
        answered = self._journey.end(ended)
        return self._answers.served(answered.route.pool, answered.route.generation)


def _read_headers(rows: Any) -> dict[str, str]:
    return {row.key: (row.raw_value or row.value.encode()).decode("latin-1") for row in rows}


def _mode(number: int) -> BodyMode:
    return BodyMode(number) if number in BodyMode._value2member_map_ else BodyMode.STREAMED


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def _retry_after_ms(in_ms: str, in_s: str) -> int | None:
    for text, factor in ((in_ms, 1), (in_s, 1_000)):
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text) * factor
    return None


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level values of a JSON object, as bytes; empty for anything else."""
    try:
        return _splitter.decode(body)
    except UNDECODABLE:
        return {}


def _model_of(fields: dict[str, msgspec.Raw]) -> str:
    try:
        return _text.decode(fields["model"]) if "model" in fields else ""
    except UNDECODABLE:
        return ""


def _value(metadata: Any, namespace: str, key: str) -> Any:
    """What the proxy says under this name; None if nothing."""
    for row in metadata.filter_metadata:
        if row.key == namespace:
            return next((field.value for field in row.value.fields if field.key == key), None)
    return None


def _subset(metadata: Any) -> frozenset[str] | None:
    """The addresses to which the proxy limits the request: a list, or a text with commas."""
    value = _value(metadata, SUBSET_NAMESPACE, SUBSET_KEY)
    if value is None:
        return None
    texts = [value.string_value, *(item.string_value for item in value.list_value.values)]
    return frozenset(part.strip() for text in texts for part in text.split(",") if part.strip())


def _served(metadata: Any) -> str:
    """The address that answered, where Envoy's load balancer says so (``selected_host_key``)."""
    value = _value(metadata, SERVED_NAMESPACE, SERVED_KEY)
    return "" if value is None else str(value.string_value)
