"""PURE. The failures of connections, in words that a caller knows: the pool, what happened to the connection,
and whether the answer had begun. A failure is a ``WireError``, whose class decides what follows; its text is
read by people only.
"""

import ssl
from socket import gaierror

from tieline._http.messages import Headers, WireError
from tieline.events import ResultClass

_WHEN = {ResultClass.CONNECT: "before any answer"}  # else in the middle of it


def closed_here(result: ResultClass = ResultClass.CUT) -> WireError:
    """An answer is read, or waited for, that was closed here."""
    return WireError(result, "the answer was closed here")


def called_back() -> WireError:
    """A request that waited for its first byte was called back, as its pool stalls."""
    return WireError(ResultClass.TIMEOUT, "called back: the pool gives nothing")


def nothing_in_time() -> WireError:
    """The time of a flight is over."""
    return WireError(ResultClass.TIMEOUT, "nothing came in time")


def not_connected_in_time(connect_s: float, left_s: float) -> WireError:
    """No connection within the limit for connecting (``connect``), or within the time left to the whole
    request (``timeout``), whichever is shorter."""
    result = ResultClass.CONNECT if connect_s < left_s else ResultClass.TIMEOUT
    return WireError(result, f"no connection within {min(connect_s, left_s):g} s")


def not_connected(pool: str, host: str, port: int, error: OSError) -> WireError:
    """No connection to a place of a pool."""
    match error:
        case gaierror():
            text = f"{pool}: the name {host} has no address ({_reason(error)})"
        case ssl.SSLCertVerificationError():
            text = f"{pool}: the certificate of {host} is not trusted ({_reason(error)})"
        case ssl.SSLError():
            text = f"{pool}: no TLS connection to {host}:{port} ({_reason(error)})"
        case ConnectionRefusedError():
            text = f"{pool} refused the connection at {host}:{port}"
        case _:
            text = f"{pool} can't be reached at {host}:{port} ({_reason(error)})"
    return WireError(ResultClass.CONNECT, text)


def broken_off(pool: str, result: ResultClass, error: Exception | None = None) -> WireError:
    """A connection ended before the answer's head (``connect``) or after it (``cut``): by ``error``, or
    without one because its other end closed it."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        what = f"the connection was reset by {pool}"
    elif error is None:
        what = f"the connection was closed by {pool}"
    else:
        what = f"the connection to {pool} failed ({_reason(error)})"
    return WireError(result, f"{what} {_WHEN.get(result, 'in the middle of the answer')}")


def no_http(pool: str, result: ResultClass) -> WireError:
    """What came is no HTTP/1.1 answer."""
    return WireError(result, f"{pool} sent something that is not a valid HTTP answer")


def invalid_request(headers: Headers) -> WireError:
    """A request that HTTP does not allow. The header at fault is named without its value, which may be a
    secret."""
    for name, value in headers:
        if any(byte in value for byte in (b"\r", b"\n", b"\0")) or not name.strip():
            text = f"the request's header {name.decode('latin-1')!r} has characters that HTTP does not allow"
            return WireError(ResultClass.CLIENT_ERROR, text)
    return WireError(ResultClass.CLIENT_ERROR, "the request's method, path or headers are not valid HTTP")


def _reason(error: Exception) -> str:
    """The system's own words without their number."""
    if isinstance(error, ssl.SSLError):
        return str(error)
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
