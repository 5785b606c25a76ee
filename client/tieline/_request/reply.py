"""PURE. What comes of a request: how far one attempt came, what the caller gets in the end, and the errors
that are made here.

Errors made here have OpenAI's own shape, so that ``except openai.APIStatusError`` works on them, and say
``x-should-retry: false``, so that no SDK multiplies the attempts. Every reply names the pool, the table's
generation, the number of attempts and the reason in ``x-tieline-*`` headers.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tieline._http.messages import Answer, Headers
from tieline._request.relay import Relay
from tieline._request.retry_rule import Attempts, GiveUp, Why
from tieline._routing.room import RateLimits
from tieline._routing.route import Reason, Route, Shed, Target
from tieline.blame import Blame
from tieline.credentials import Token
from tieline.events import ResultClass
from tieline.providers.answers import NO_ERROR, QUOTA_GONE, ProviderError, Reading, error_in, status_of_error
from tieline.providers.streams import StreamReader, TokenCounts

# The status of an error that is made here, by what it tells of.
_STATUS_OF_REFUSAL = {Reason.SHED: 429, Reason.THROTTLED: 429, Reason.BAD_OPTION: 400}  # else 503
_STATUS_WITHOUT_ANSWER = {ResultClass.TIMEOUT: 504, ResultClass.CLIENT_ERROR: 400}  # else 503
_KIND = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}  # else server_error
# What a caller whose request no pool served wants to read first; of all others the last.
_ABOUT_THE_REQUEST = (Blame.CALLER, Blame.REQUEST)
_REPLACED = (b"x-should-retry", b"x-tieline-reason")


class Reply(Struct):
    """What the caller gets: a whole body, or one that is still on its way. ``timed_out``: the caller's own
    time-out ended the request, and what it waited for; its HTTP library raises its own error then. ``usage``:
    the token counts that a whole body names. ``units``: the load that it was, once its body has ended; 0 for
    a failure."""

    status: int
    headers: Headers
    body: bytes = b""
    relay: Relay | None = None
    timed_out: str = ""
    usage: TokenCounts | None = None
    units: float = 0.0


class Opening(Struct):
    """How far an attempt came. With ``result`` OK the reply may be handed on, and if there is an ``answer``
    the rest of its body is still to come, after ``prefix``. ``reply`` is None when there was no answer at
    all; ``text`` then says why. ``error``: the provider's own, in whatever shape it came. ``token``: the
    secret that was sent, if it came from a function. ``usage``: token counts, where the answer names them.
    ``answer_id`` names what the provider holds for the caller from now on, "" for nothing. ``is_held``:
    output came before now, and was held back. ``rate_limits``: what the headers say is left.
    ``status``: the answer's own, 0 without one. ``whole``: the body of a good answer that came whole, without
    its compression, as far as it can be read."""

    reading: Reading
    text: str = ""
    reply: Reply | None = None
    retry_after_ms: int | None = None
    usage: TokenCounts | None = None
    answer: Answer | None = None
    prefix: bytes = b""
    reader: StreamReader | None = None
    answer_id: str = ""
    is_held: bool = False
    error: ProviderError = NO_ERROR
    token: Token | None = None
    status: int = 0
    rate_limits: RateLimits | None = None
    whole: bytes = b""

    @property
    def result(self) -> ResultClass:
        """Its class in reports."""
        return self.reading.result


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


def at_their_limits(shed: Shed, waits: Mapping[str, int], pool: str) -> Shed:
    """Why no pool takes a request, where ``pool`` and others have no room by their rate-limit headers.
    ``waits``: milliseconds until each of those should have some."""
    lines = {line.partition(": ")[0]: line for line in shed.why} | {pool: ""}
    full = [name for name in lines if name in waits]
    lines |= {name: f"{name}: its answers say that nothing is left of its limit" for name in full}
    times = [waits[name] for name in full] + [shed.retry_after_ms or waits[pool]]
    text = "every pool of the route is out, or at the limit that its answers state"
    return replace(
        shed, reason=Reason.THROTTLED, text=text, retry_after_ms=min(times), why=tuple(lines.values())
    )


def error_event(reader: StreamReader, result: ResultClass) -> Reply:
    """The error that a provider sent inside a stream before any output, with the status it would have had."""
    error = error_in(reader.error)
    text = error.message or "an error event before any output"
    return failure(status_of_error(error), text, code=error.code or result.value)


def failure(status: int, text: str, *, code: str, headers: Headers | None = None) -> Reply:
    """An error made here, in OpenAI's own shape; the SDK must not try again."""
    kind = _KIND.get(status, "server_error")
    body = msgspec.json.encode({"error": {"message": text, "type": kind, "param": None, "code": code}})
    fixed = [(b"content-type", b"application/json"), (b"x-should-retry", b"false")]
    return Reply(status, [*fixed, *(headers or ())], body)


def success(reply: Reply, route: Route, attempts: Attempts) -> Reply:
    """The reply with where it came from."""
    return _stamped(reply, route, attempts, route.reason)


def final_failure(
    ends: Sequence[tuple[Opening, Route]],
    attempts: Attempts,
    *,
    end: GiveUp,
    is_over: bool = False,
    holder_text: str = "",
) -> Reply:
    """The failure that says most about the request, as a normal HTTP response that no SDK tries again: a
    provider's own status and words if any has answered. Where none has and no pool is left, an error that
    names why each is out. ``ends``: how each attempt ended, in order. ``is_over``: the time-out that the
    caller declared is. ``holder_text``: which pool holds what the request refers to."""
    opening, route = _most_telling(ends, prefer_answers=end.shed is not None)
    reply, reason, endings = opening.reply, route.reason, "; ".join(attempts.endings.values())
    if end.shed is not None and reply is None:
        reply, reason = refusal(end.shed), end.shed.reason
    elif reply is None:
        whose = f"; {holder_text}" if holder_text else ""
        text = (
            f"{route.pool}: {opening.text} (attempt {attempts.count}, no other: {end.why}; {endings}{whose})"
        )
        status = _STATUS_WITHOUT_ANSWER.get(opening.result, 503)
        reply = failure(status, text, code=f"tieline_{opening.result}")
        if is_over and opening.result is ResultClass.TIMEOUT:
            reply.timed_out = text
    reply.headers = [(name, value) for name, value in reply.headers if name.lower() not in _REPLACED] + [
        (b"x-should-retry", b"false"),
        (b"x-tieline-gave-up", end.why.encode()),
        (b"x-tieline-tried", endings.encode()),
    ]
    if holder_text:
        reply.headers.append((b"x-tieline-held", holder_text.encode()))
    return _stamped(reply, route, attempts, reason)


def timed_out_again() -> Reply:
    """An SDK's resend of a request that timed out and may be billed: it ends in the same time-out."""
    text = (
        "not sent: the same request has timed out, and may be under way still, and billed; "
        "to order it once more, make a new request"
    )
    reply = failure(504, text, code="tieline_timeout", headers=[(b"x-tieline-reason", Why.BILLED.encode())])
    reply.timed_out = text
    return reply


def _most_telling(ends: Sequence[tuple[Opening, Route]], *, prefer_answers: bool) -> tuple[Opening, Route]:
    answered = [end for end in ends if end[0].reply is not None]
    for blame in _ABOUT_THE_REQUEST:
        for end in answered:
            if end[0].reading.blame is blame:
                return end
    return answered[-1] if answered and prefer_answers else ends[-1]


def _stamped(reply: Reply, route: Route, attempts: Attempts, reason: Reason) -> Reply:
    reply.headers += [
        (b"x-tieline-pool", route.pool.encode()),
        (b"x-tieline-generation", route.generation.encode()),
        (b"x-tieline-attempts", str(attempts.count).encode()),
        (b"x-tieline-reason", reason.encode()),
    ]
    return reply


def configuration_fault(target: Target, opening: Opening) -> str:
    """What is wrong with the configuration, if that is what an attempt has met; else ""."""
    match opening.reading.blame:
        case Blame.ACCOUNT if opening.reading == QUOTA_GONE:
            return f"its account says {opening.error.code} again and again"
        case Blame.ACCOUNT if opening.reply is None:
            return opening.text
        case Blame.ACCOUNT if target.credential:
            return f"the credential {target.credential!r} was refused"
        case Blame.MODEL:
            return f"the model {target.name!r} is unknown there"
        case _:
            return ""
