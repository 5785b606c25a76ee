"""PURE. What an answer's status says, as a result class."""

from typing import Any

from tieline.events import ResultClass

_BY_STATUS = {
    401: ResultClass.AUTH,
    403: ResultClass.AUTH,
    404: ResultClass.NOT_FOUND,
    408: ResultClass.TIMEOUT,
    429: ResultClass.THROTTLED,
}
_THROTTLE_CODES = frozenset({"429", "rate_limit_exceeded", "insufficient_quota", "too_many_requests"})


def classify(status: int, *, has_model: bool) -> ResultClass:
    """2xx is success; a redirect is a broken endpoint, never followed. A 404 speaks of the model only if the
    request named one."""
    if status < 300:
        return ResultClass.OK
    if status >= 500 or status < 400:
        return ResultClass.SERVER_ERROR
    if status == 404 and not has_model:
        return ResultClass.CLIENT_ERROR
    return _BY_STATUS.get(status, ResultClass.CLIENT_ERROR)


def classify_error_event(error: Any) -> ResultClass:
    """An error event inside a stream that began with 200."""
    if isinstance(error, dict):
        named = {str(error.get(name, "")).lower() for name in ("code", "type", "status")}
        if named & _THROTTLE_CODES or "rate_limit_error" in named:
            return ResultClass.THROTTLED
        if named & {"content_filter", "invalid_request_error"}:
            return ResultClass.CLIENT_ERROR
    return ResultClass.SERVER_ERROR
