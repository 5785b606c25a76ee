"""What the caller gets back: a provider's answer, or an error that is made here in OpenAI's own shape."""

import msgspec
from msgspec import Struct

from tieline._http.messages import Headers
from tieline._request.relay import Relay
from tieline._routing.route import Reason, Shed


class Reply(Struct):
    """What the caller gets: a whole body, or one that is still on its way."""

    status: int
    headers: Headers
    body: bytes = b""
    relay: Relay | None = None


_STATUS = {Reason.SHED: 429, Reason.THROTTLED: 429, Reason.BAD_OPTION: 400}
_KIND = {429: "rate_limit_error", 400: "invalid_request_error"}


def refusal(shed: Shed) -> Reply:
    """A request that was not sent, as OpenAI words errors: 429 when the table sheds it or all is at its
    limit, 400 for what can't be asked for, else 503."""
    status = _STATUS.get(shed.reason, 503)
    text = f"{shed.text}: {'; '.join(shed.why)}" if shed.why else shed.text
    headers = [(b"x-tieline-reason", shed.reason.encode())]
    if shed.retry_after_ms is not None:
        headers.append((b"retry-after-ms", str(shed.retry_after_ms).encode()))
        headers.append((b"retry-after", str(-(-shed.retry_after_ms // 1_000)).encode()))
    return failure(status, text, f"tieline_{shed.reason}", headers)


def failure(status: int, text: str, code: str, headers: Headers) -> Reply:
    """An error made here, in OpenAI's own shape; the SDK must not try again."""
    kind = _KIND.get(status, "server_error")
    body = msgspec.json.encode({"error": {"message": text, "type": kind, "param": None, "code": code}})
    fixed = [(b"content-type", b"application/json"), (b"x-should-retry", b"false")]
    return Reply(status, [*fixed, *headers], body)
