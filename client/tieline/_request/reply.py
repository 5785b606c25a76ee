"""PURE. What comes of a request: how far one attempt came, what the caller gets in the end, and the errors
that are made here.

Errors made here have OpenAI's own shape, so that ``except openai.APIStatusError`` works on them, and say
``x-should-retry: false``, so that no SDK multiplies the attempts. Every reply names the pool, the table's
generation, the number of attempts and the reason in ``x-tieline-*`` headers.
"""

import msgspec
from msgspec import Struct

from tieline._http.messages import Answer, Headers
from tieline._request.attempts import Attempts, GiveUp
from tieline._request.relay import Relay
from tieline._routing.route import Reason, Route, Shed
from tieline.events import ResultClass
from tieline.providers.streams import StreamReader, TokenCounts

# The status of an error that is made here, by what it tells of.
_STATUS_OF_REFUSAL = {Reason.SHED: 429, Reason.THROTTLED: 429, Reason.BAD_OPTION: 400}  # else 503
_STATUS_WITHOUT_ANSWER = {ResultClass.TIMEOUT: 504, ResultClass.CLIENT_ERROR: 400}  # else 503
_STATUS_OF_ERROR_EVENT = {ResultClass.THROTTLED: 429, ResultClass.CLIENT_ERROR: 400}  # else 500
_KIND = {429: "rate_limit_error", 400: "invalid_request_error"}  # else server_error
_REPLACED = (b"x-should-retry", b"x-tieline-reason")


class Reply(Struct):
    """What the caller gets: a whole body, or one that is still on its way."""

    status: int
    headers: Headers
    body: bytes = b""
    relay: Relay | None = None


class Opening(Struct):
    """How far an attempt came. With ``result`` OK the reply may be handed on, and if there is an ``answer``
    the rest of its body is still to come, after ``prefix``. ``reply`` is None when there was no answer at
    all; ``text`` then says why. ``usage``: token counts, where the answer names them. ``answer_id`` names
    what the provider holds for the caller from now on, "" for nothing."""

    result: ResultClass
    text: str = ""
    reply: Reply | None = None
    retry_after_ms: int | None = None
    usage: TokenCounts | None = None
    answer: Answer | None = None
    prefix: bytes = b""
    reader: StreamReader | None = None
    answer_id: str = ""


def refusal(shed: Shed) -> Reply:
    """A request that was not sent: 429 when the table sheds it or every pool is at its limit, 400 for what
    can't be asked for, else 503."""
    status = _STATUS_OF_REFUSAL.get(shed.reason, 503)
    text = f"{shed.text}: {'; '.join(shed.why)}" if shed.why else shed.text
    headers = [(b"x-tieline-reason", shed.reason.encode())]
    if shed.retry_after_ms is not None:
        headers.append((b"retry-after-ms", str(shed.retry_after_ms).encode()))
        headers.append((b"retry-after", str(-(-shed.retry_after_ms // 1_000)).encode()))
    return failure(status, text, code=f"tieline_{shed.reason}", headers=headers)


def error_event(reader: StreamReader, result: ResultClass) -> Reply:
    """The error that a provider sent inside a stream before any output, with the status it would have had."""
    status = _STATUS_OF_ERROR_EVENT.get(result, 500)
    error = reader.error if isinstance(reader.error, dict) else {}
    text = str(error.get("message") or "an error event before any output")
    return failure(status, text, code=str(error.get("code") or result.value))


def failure(status: int, text: str, *, code: str, headers: Headers | None = None) -> Reply:
    """An error made here, in OpenAI's own shape; the SDK must not try again."""
    kind = _KIND.get(status, "server_error")
    body = msgspec.json.encode({"error": {"message": text, "type": kind, "param": None, "code": code}})
    fixed = [(b"content-type", b"application/json"), (b"x-should-retry", b"false")]
    return Reply(status, [*fixed, *(headers or ())], body)


def success(reply: Reply, route: Route, attempts: Attempts) -> Reply:
    """The reply with where it came from."""
    return _stamped(reply, route, attempts, route.reason)


def final_failure(opening: Opening, route: Route, attempts: Attempts, *, end: GiveUp) -> Reply:
    """The last failure as a normal HTTP response that no SDK tries again. Where no pool is left, an error
    that names why each is out instead."""
    reply, reason, endings = opening.reply, route.reason, "; ".join(attempts.endings.values())
    if end.shed is not None:
        reply, reason = refusal(end.shed), end.shed.reason
    elif reply is None:
        text = f"{route.pool}: {opening.text} (attempt {attempts.count}, no other: {end.why}; {endings})"
        status = _STATUS_WITHOUT_ANSWER.get(opening.result, 503)
        reply = failure(status, text, code=f"tieline_{opening.result}")
    reply.headers = [(name, value) for name, value in reply.headers if name.lower() not in _REPLACED] + [
        (b"x-should-retry", b"false"),
        (b"x-tieline-gave-up", end.why.encode()),
        (b"x-tieline-tried", endings.encode()),
    ]
    return _stamped(reply, route, attempts, reason)


def _stamped(reply: Reply, route: Route, attempts: Attempts, reason: Reason) -> Reply:
    reply.headers += [
        (b"x-tieline-pool", route.pool.encode()),
        (b"x-tieline-generation", route.generation.encode()),
        (b"x-tieline-attempts", str(attempts.count).encode()),
        (b"x-tieline-reason", reason.encode()),
    ]
    return reply
