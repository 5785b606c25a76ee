"""What the picker answers Envoy, as bytes.

By the endpoint picker protocol (proposal 004 of the Gateway API Inference Extension) the destination is said
twice, and alike: in the header ``x-gateway-destination-endpoint`` and in dynamic metadata under ``envoy.lb``.
Callers can't choose for themselves: what they send under these names is overwritten or removed. An answer
that repeats is kept as bytes, because to write it takes longer than to pick.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

import tieline
from picker.messages import ProcessingResponse

Part: TypeAlias = Literal[
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
ENDPOINT_HEADER = "x-gateway-destination-endpoint"
POOL_HEADER, REASON_HEADER, GENERATION_HEADER = "x-tieline-pool", "x-tieline-reason", "x-tieline-generation"
METADATA_NAMESPACE = "envoy.lb"
KEPT_MAX = 4_096
PIECE_BYTES = 64 * 1024  # Envoy takes no larger piece at once
_OVERWRITE = 2  # HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
# Else 503. The one option that can't be granted is a body of any size.
_STATUS_OF_REFUSAL = {
    tieline.Reason.SHED: 429,
    tieline.Reason.THROTTLED: 429,
    tieline.Reason.BAD_OPTION: 413,
}
_KIND = {429: "rate_limit_error", 413: "invalid_request_error"}  # else server_error


class Destination(Struct, frozen=True):
    """Where a request goes. ``endpoints``: ``ip:port``, in the order in which Envoy tries them; empty where
    Envoy routes by the pool's name. ``reason``: why this pool."""

    pool: str
    generation: str
    reason: str
    endpoints: tuple[str, ...] = ()


class Answers:
    """Writes answers, and keeps those to headers that repeat."""

    def __init__(self) -> None:
        self._destinations: dict[Destination, bytes] = {}
        self._served: dict[tuple[str, str], bytes] = {}
        self._plain = {part: _plain(part) for part in PARTS}

    def go_on(self, part: Part) -> bytes:
        """Nothing is changed."""
        return self._plain[part]

    def destination(self, destination: Destination) -> bytes:
        """The answer to a request's headers."""
        answer = self._destinations.get(destination)
        if answer is None:
            if len(self._destinations) >= KEPT_MAX:
                self._destinations.clear()
            answer = self._destinations[destination] = _directed(destination).SerializeToString()
        return answer

    def destination_and_body(self, destination: Destination, body: bytes | None) -> bytes:
        """The answer to a request's body that came whole (``BUFFERED``); ``body`` replaces it."""
        answer = _directed(destination, "request_body")
        if body is not None:
            common = answer.request_body.response
            common.body_mutation.body = body
            # Envoy refuses a body whose length is not the one that the header says.
            _set(common.header_mutation, "content-length", str(len(body)))
        return bytes(answer.SerializeToString())

    def served(self, pool: str, generation: str) -> bytes:
        """The answer to a response's headers: the caller reads there which pool answered."""
        answer = self._served.get((pool, generation))
        if answer is None:
            if len(self._served) >= KEPT_MAX:
                self._served.clear()
            message = ProcessingResponse()
            mutation = message.response_headers.response.header_mutation
            _set(mutation, POOL_HEADER, pool)
            _set(mutation, GENERATION_HEADER, generation)
            answer = self._served[pool, generation] = message.SerializeToString()
        return answer


def streamed(part: Literal["request_body", "response_body"], body: bytes, *, ends: bool) -> Iterator[bytes]:
    """A body that is handed on in pieces (``FULL_DUPLEX_STREAMED``)."""
    for start in range(0, max(len(body), 1), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        message = ProcessingResponse()
        stream = getattr(message, part).response.body_mutation.streamed_response
        stream.body, stream.end_of_stream = piece, ends and start + PIECE_BYTES >= len(body)
        yield message.SerializeToString()


def refusal(shed: tieline.Shed) -> bytes:
    """A request that goes to no pool: 429 if the table sheds it or all pools are at their limits, 413 if
    its body is too large, else 503, with an error in OpenAI's shape, as the client library answers."""
    status = _STATUS_OF_REFUSAL.get(shed.reason, 503)
    text = f"{shed.text}: {'; '.join(shed.why)}" if shed.why else shed.text
    error = {
        "message": text,
        "type": _KIND.get(status, "server_error"),
        "param": None,
        "code": str(shed.reason),
    }
    message = ProcessingResponse()
    answer = message.immediate_response
    answer.status.code = status
    answer.body = msgspec.json.encode({"error": error})
    answer.details = f"tieline_{shed.reason}"
    _set(answer.headers, "content-type", "application/json")
    _set(answer.headers, "x-should-retry", "false")
    _set(answer.headers, REASON_HEADER, shed.reason)
    if shed.retry_after_ms is not None:
        _set(answer.headers, "retry-after", str(-(-shed.retry_after_ms // 1_000)))
    return bytes(message.SerializeToString())


def _plain(part: Part) -> bytes:
    message = ProcessingResponse()
    getattr(message, part).SetInParent()
    return bytes(message.SerializeToString())


def _directed(
    destination: Destination, part: Literal["request_headers", "request_body"] = "request_headers"
) -> Any:
    message = ProcessingResponse()
    common = getattr(message, part).response
    common.clear_route_cache = True
    mutation = common.header_mutation
    _set(mutation, POOL_HEADER, destination.pool)
    _set(mutation, REASON_HEADER, destination.reason)
    if not destination.endpoints:
        mutation.remove_headers.append(ENDPOINT_HEADER)
        return message
    value = ",".join(destination.endpoints)
    _set(mutation, ENDPOINT_HEADER, value)
    namespace = message.dynamic_metadata.fields.add(key=METADATA_NAMESPACE)
    namespace.value.struct_value.fields.add(key=ENDPOINT_HEADER).value.string_value = value
    return message


def _set(mutation: Any, name: str, value: str) -> None:
    option = mutation.set_headers.add(append_action=_OVERWRITE)
    option.header.key, option.header.raw_value = name, value.encode()
