"""PURE. What a provider's answer means: its HTTP status, the error in its body, or an error in a stream.

Every answer becomes one ``Reading``. The tables below are the whole rule, and the table in client/README.md
is made from them (``python -m tools.answers``). An error is looked up in this order:

1. ``ERRORS``: names that providers put into ``code``, ``type`` or ``status`` of an error, and known phrases
   of its message. A row holds only under the statuses that it lists.
2. ``STATUSES``: the HTTP status. An error without one, inside a stream or a 200, has the status that its code
   names (``STATUS_OF_NAME``), else 500.

Retry-After is read elsewhere: it says when, not what.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from tieline.blame import Blame
from tieline.errors import UNDECODABLE
from tieline.events import HEALTH_FAILURES, ResultClass

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
HTML: Final = "text/html"


class Topic(StrEnum):
    """What an error is about where that decides which other pools may do better."""

    CONTEXT = "context"  # the prompt is longer than the model's context here
    PARAMETER = "parameter"  # one parameter is not supported here
    BILLING = "billing"  # a quota; an account's only if it is said again and again


class Reading(Struct, frozen=True):
    """What one answer means. ``result``: its class in reports. ``elsewhere``: another pool may answer
    differently. ``again``: the same pool may answer differently in a moment."""

    result: ResultClass
    blame: Blame
    elsewhere: bool = False
    again: bool = False
    topic: Topic | None = None


class StatusRow(Struct, frozen=True):
    """What the statuses mean; ``meaning`` is for readers of the table."""

    statuses: tuple[int, ...]
    meaning: str
    reading: Reading


class ErrorRow(Struct, frozen=True):
    """What an error means that has one of ``names``, or whose message matches ``phrases`` (None: no phrase).
    It holds under ``statuses``, and for errors without a status."""

    names: frozenset[str]
    phrases: re.Pattern[str] | None
    statuses: frozenset[int]
    meaning: str
    reading: Reading


GOOD: Final = Reading(ResultClass.OK, Blame.NOBODY)
CALLERS_OWN: Final = Reading(ResultClass.CLIENT_ERROR, Blame.CALLER)
UNHEALTHY: Final = Reading(ResultClass.SERVER_ERROR, Blame.POOL, elsewhere=True, again=True)
_TIMED_OUT = Reading(ResultClass.TIMEOUT, Blame.POOL, elsewhere=True, again=True)
_THROTTLED = Reading(ResultClass.THROTTLED, Blame.POOL, elsewhere=True, again=True)
# ``again`` of a refused secret: once its token has been renewed.
_SECRET_REFUSED = Reading(ResultClass.AUTH, Blame.ACCOUNT, elsewhere=True, again=True)
ACCOUNT_EMPTY: Final = Reading(ResultClass.AUTH, Blame.ACCOUNT, elsewhere=True)
_FORBIDDEN = Reading(ResultClass.AUTH, Blame.REQUEST, elsewhere=True)
_NOT_FOUND = Reading(ResultClass.NOT_FOUND, Blame.REQUEST, elsewhere=True)
_NOT_OFFERED = Reading(ResultClass.CLIENT_ERROR, Blame.REQUEST, elsewhere=True)
NO_MODEL: Final = Reading(ResultClass.NOT_FOUND, Blame.MODEL, elsewhere=True)
_PASSING = Reading(ResultClass.CLIENT_ERROR, Blame.MOMENT, elsewhere=True, again=True)
EMPTY_ANSWER: Final = _PASSING
_TOO_LONG = Reading(ResultClass.CLIENT_ERROR, Blame.CALLER, elsewhere=True, topic=Topic.CONTEXT)
_UNSUPPORTED = Reading(ResultClass.CLIENT_ERROR, Blame.CALLER, elsewhere=True, topic=Topic.PARAMETER)
_QUOTA = Reading(ResultClass.THROTTLED, Blame.POOL, elsewhere=True, again=True, topic=Topic.BILLING)
QUOTA_GONE: Final = Reading(ResultClass.AUTH, Blame.ACCOUNT, elsewhere=True, topic=Topic.BILLING)

STATUSES: Final = (
    StatusRow((400, 413, 422), "a mistake in the request", CALLERS_OWN),
    StatusRow((401,), "the secret was refused", _SECRET_REFUSED),
    StatusRow((402,), "the account has nothing left to spend", ACCOUNT_EMPTY),
    StatusRow((403, 451), "this request is not allowed here", _FORBIDDEN),
    StatusRow((404,), "what the request names is not here", _NOT_FOUND),
    StatusRow((405, 501), "this kind of request is not offered here", _NOT_OFFERED),
    StatusRow((408,), "the pool gave up waiting", _TIMED_OUT),
    StatusRow((409, 423, 425), "a conflict that passes", _PASSING),
    StatusRow((410,), "the model was withdrawn", NO_MODEL),
    StatusRow((407, 424), "something behind the pool failed", UNHEALTHY),
    StatusRow((429,), "too many requests or tokens", _THROTTLED),
)
# Any other status, by its first digit. A redirect is a broken endpoint: it is never followed, because the
# secret would go with it.
HUNDREDS: Final[Mapping[int, tuple[str, Reading]]] = {
    2: ("an answer", GOOD),
    3: ("a redirect, which is never followed", UNHEALTHY),
    4: ("a mistake in the request", CALLERS_OWN),
    5: ("the pool failed", UNHEALTHY),
}


def _row(names: str, phrases: str, statuses: tuple[int, ...], meaning: str, reading: Reading) -> ErrorRow:
    pattern = re.compile(phrases, re.IGNORECASE) if phrases else None
    return ErrorRow(
        frozenset(names.split()), pattern, statuses=frozenset(statuses), meaning=meaning, reading=reading
    )


ERRORS: Final = (
    _row(
        "content_filter content_policy_violation responsibleaipolicyviolation moderation_blocked "
        "content_management_policy data_inspection_failed",
        "",
        (400, 422),
        "the content was refused by a filter",
        CALLERS_OWN,
    ),
    _row(
        "context_length_exceeded context_window_exceeded string_above_max_length prompt_too_long",
        r"maximum context length|context window|prompt is too long|too many (input )?tokens|"
        r"input is too long|exceeds? the (model'?s )?context",
        (400, 413, 422),
        "the prompt is longer than the model's context",
        _TOO_LONG,
    ),
    _row(
        "unsupported_parameter unsupported_value unknown_parameter unrecognized_parameter",
        r"^unrecognized request argument|unsupported parameter|unknown parameter",
        (400, 422),
        "a parameter that is not supported here",
        _UNSUPPORTED,
    ),
    _row(
        "previous_response_not_found",
        "",
        (400,),
        "the response that it goes on from is not here",
        _NOT_OFFERED,
    ),
    _row(
        "model_not_found deploymentnotfound deployment_not_found modelnotfound model_not_available "
        "unknown_model model_not_supported modelnotsupported model_deprecated",
        r"\bmodel\b.{0,200}\b(does not exist|was not found|not found|is not found)|"
        r"deployment for this resource does not exist|does not have access to model|"
        r"deployment .{0,100} (does not exist|not found)",
        (400, 403, 404),
        "the pool does not have the model",
        NO_MODEL,
    ),
    _row(
        "insufficient_quota billing_hard_limit_reached billing_not_active billing_limit_reached "
        "insufficient_balance insufficient_credits exceeded_current_quota_error quota_exceeded "
        "access_terminated",
        "",
        (400, 403, 429),
        "a quota or the account is used up",
        _QUOTA,
    ),
)
# The HTTP status that the names of errors stand for: OpenAI's types, Anthropic's, and gRPC's codes, which
# Google's APIs give as ``status``.
STATUS_OF_NAME: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "request_too_large": 413,
    "invalid_image": 400,
    "image_content_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "invalid_token": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "aborted": 409,
    "conflict": 409,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "tokens_exceeded": 429,
    "throttled": 429,
    "throttling": 429,
    "resource_exhausted": 429,
    "requests": 429,
    "tokens": 429,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "unimplemented": 501,
    "unavailable": 503,
    "service_unavailable": 503,
    "engine_overloaded": 503,
    "overloaded_error": 529,
    "deadline_exceeded": 504,
    "timeout": 504,
}
_BY_STATUS: Final = {status: row.reading for row in STATUSES for status in row.statuses}
_NAME_FIELDS = ("code", "type", "status", "reason")
_UNREADABLE_STATUS = 500


class ProviderError(Struct, frozen=True):
    """The error in an answer's body, from whichever shape it came in. ``names``: its code, type and status in
    lower case. ``param``: the parameter that it is about, "" if it names none."""

    names: tuple[str, ...] = ()
    message: str = ""
    param: str = ""

    @property
    def code(self) -> str:
        """Its first name."""
        return self.names[0] if self.names else ""


NO_ERROR: Final = ProviderError()


def error_in(value: Any) -> ProviderError:
    """The error that a decoded body, an event, or the value of an ``error`` field holds.

    Nested (``{"error": {...}}``) and flat (``{"type": "error", "code": ...}``, ``{"error": "text"}``) errors
    read alike, as do lists of one error and FastAPI's ``detail``. What is no error at all gives ``NO_ERROR``.
    """
    if isinstance(value, list) and len(value) == 1:
        return error_in(value[0])
    if isinstance(value, str):
        return ProviderError(message=value)
    if not isinstance(value, Mapping):
        return NO_ERROR
    for field in ("error", "detail"):
        if isinstance(value.get(field), Mapping | list | str) and value[field]:
            nested = error_in(value[field])
            return nested if nested.names else msgspec.structs.replace(nested, names=_names(value))
    inner = value.get("innererror")
    names = _names(value) + (_names(inner) if isinstance(inner, Mapping) else ())
    return ProviderError(names, str(value.get("message") or ""), str(value.get("param") or ""))


def error_in_body(body: bytes) -> ProviderError:
    """As ``error_in``, for the bytes of an answer; ``NO_ERROR`` for what is no JSON."""
    try:
        return error_in(msgspec.json.decode(body))
    except UNDECODABLE:
        return NO_ERROR


def reading_of_status(
    status: int, error: ProviderError = NO_ERROR, *, names_model: bool, names_deployment: bool = False
) -> Reading:
    """What an answer with this HTTP status and this error means.

    ``names_model``: the request named a model and nothing else that could be missing; only then can the
    answer speak of the model. ``names_deployment``: the URL names the model's deployment as well, so that a
    404 can mean nothing else.
    """
    if status // 100 == 2:
        return GOOD
    reading = _named(error, status) or _of_status(status)
    if reading.blame is Blame.MODEL and not names_model:
        return _NOT_FOUND
    if status == 404 and reading.blame is Blame.REQUEST and names_deployment:
        return NO_MODEL
    return reading


def reading_of_error(value: Any, *, names_model: bool = True) -> Reading:
    """What an error means that came without a status of its own: an event of a stream, or the body of an
    answer with 200. ``value``: the event, or what its ``error`` field holds."""
    error = value if isinstance(value, ProviderError) else error_in(value)
    reading = _named(error, None) or _of_status(status_of_error(error))
    return _NOT_FOUND if reading.blame is Blame.MODEL and not names_model else reading


def status_of_error(error: ProviderError) -> int:
    """The HTTP status that an error stands for which came without one."""
    statuses = [_status_of_name(name) for name in error.names]
    if 429 in statuses or ((reading := _named(error, None)) and reading.result is ResultClass.THROTTLED):
        return 429
    if reading is not None:
        return 404 if reading.blame is Blame.MODEL else 400
    return next((status for status in statuses if status), _UNREADABLE_STATUS)


def reading_of_result(result: ResultClass) -> Reading:
    """What a class means where there is no answer to read: a connection that failed, a limit that ran out,
    or the word of an application that sends its requests itself."""
    if result in HEALTH_FAILURES:
        return Reading(result, Blame.POOL, elsewhere=True, again=True)
    return _OF_RESULT[result]


_OF_RESULT: Final[Mapping[ResultClass, Reading]] = {
    ResultClass.OK: GOOD,
    ResultClass.THROTTLED: _THROTTLED,
    ResultClass.AUTH: ACCOUNT_EMPTY,
    ResultClass.NOT_FOUND: NO_MODEL,
    ResultClass.CLIENT_ERROR: CALLERS_OWN,
}


def media_type(content_type: str | None) -> str:
    """The type that a Content-Type header names, in lower case and without parameters; "" without a
    header."""
    return (content_type or "").split(";")[0].strip().lower()


def _names(error: Mapping[str, Any]) -> tuple[str, ...]:
    values = [error.get(field) for field in _NAME_FIELDS]
    return tuple(
        str(value).lower() for value in values if isinstance(value, str | int) and value not in ("", "error")
    )


def _named(error: ProviderError, status: int | None) -> Reading | None:
    """What the error's own names or words say under this status; None if they say nothing more than it."""
    if not error.names and not error.message:
        return None
    rows = [row for row in ERRORS if status is None or status in row.statuses]
    for row in rows:
        if not row.names.isdisjoint(error.names):
            return row.reading
    for row in rows:
        if row.phrases is not None and row.phrases.search(error.message):
            return row.reading
    return None


def _of_status(status: int) -> Reading:
    reading = _BY_STATUS.get(status)
    if reading is not None:
        return reading
    return HUNDREDS[status // 100][1] if status // 100 in HUNDREDS else UNHEALTHY


def _status_of_name(name: str) -> int:
    if name.isdecimal() and 400 <= int(name) <= 599:
        return int(name)
    return STATUS_OF_NAME.get(name, 0)
