"""PURE. What a provider's answer means: its HTTP status, or an error inside a stream, as a ``ResultClass``.

The tables are the whole rule; the classes are explained in docs/events.md. Retry-After is read elsewhere, as
it is not about the class.
"""

from collections.abc import Mapping
from typing import Final

from tieline.events import ResultClass

CLASS_BY_STATUS: Final[Mapping[int, ResultClass]] = {
    401: ResultClass.AUTH,
    403: ResultClass.AUTH,
    404: ResultClass.NOT_FOUND,
    408: ResultClass.TIMEOUT,
    429: ResultClass.THROTTLED,
}
# For every other status, by its first digit. A redirect is a broken endpoint: it is never followed, because
# the secret would go with it.
CLASS_BY_HUNDRED: Final[Mapping[int, ResultClass]] = {
    2: ResultClass.OK,
    3: ResultClass.SERVER_ERROR,
    4: ResultClass.CLIENT_ERROR,
    5: ResultClass.SERVER_ERROR,
}
# What providers write into ``code``, ``type`` or ``status`` of an error, in lower case. An error can name
# several of them; a rate limit then decides.
CLASS_BY_ERROR_NAME: Final[Mapping[str, ResultClass]] = {
    "429": ResultClass.THROTTLED,
    "insufficient_quota": ResultClass.THROTTLED,
    "rate_limit_error": ResultClass.THROTTLED,
    "rate_limit_exceeded": ResultClass.THROTTLED,
    "too_many_requests": ResultClass.THROTTLED,
    "content_filter": ResultClass.CLIENT_ERROR,
    "invalid_request_error": ResultClass.CLIENT_ERROR,
}
_ERROR_FIELDS = ("code", "type", "status")
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"


def classify_status(status: int, *, names_model: bool) -> ResultClass:
    """The class of an answer with this HTTP status. ``names_model``: the request named a model and nothing
    else that could be missing. Only then does a 404 say that the pool does not serve the model; otherwise the
    caller asked for something that is not there."""
    if status == 404 and not names_model:
        return ResultClass.CLIENT_ERROR
    by_hundred = CLASS_BY_HUNDRED.get(status // 100, ResultClass.SERVER_ERROR)
    return CLASS_BY_STATUS.get(status, by_hundred)


def classify_error(error: object) -> ResultClass:
    """The class of an error event inside a stream that began with status 200. ``error`` is the value of its
    ``error`` field, of whatever type; what no table names is the server's."""
    if not isinstance(error, Mapping):
        return ResultClass.SERVER_ERROR
    names = {str(error.get(field, "")).lower() for field in _ERROR_FIELDS}
    classes = {CLASS_BY_ERROR_NAME.get(name) for name in names}
    if ResultClass.THROTTLED in classes:
        return ResultClass.THROTTLED
    return ResultClass.CLIENT_ERROR if ResultClass.CLIENT_ERROR in classes else ResultClass.SERVER_ERROR


def media_type(content_type: str | None) -> str:
    """The type that a Content-Type header names, in lower case and without parameters; "" without a
    header."""
    return (content_type or "").split(";")[0].strip().lower()
