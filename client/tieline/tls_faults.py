"""Why a TLS handshake failed, in words.

OpenSSL names why it refuses a server's certificate by a number (``X509_V_ERR_*`` of its manual page
X509_STORE_CTX_get_error). What the server refuses arrives as an alert (RFC 8446, section 6), whose name
Python puts into the ``reason`` of the error. Libraries hide the error of OpenSSL behind errors of their own,
so it is looked for among the causes. Tests: tests/unit/client/test_tls_faults.py, and against real servers
tests/integration/test_secured.py and test_secured_redis.py.
"""

import ssl
from enum import Enum, IntEnum


class TlsFault(Enum):
    """What is wrong. The value says it as half a sentence."""

    NOT_YET_VALID = "its certificate is not valid yet"
    EXPIRED = "its certificate has expired"
    OTHER_HOST = "its certificate is for another host"
    UNKNOWN_AUTHORITY = "no authority that is trusted here has signed its certificate"
    OWN_CERTIFICATE = "it asks for a client certificate, and does not accept ours or got none"
    NO_TLS = "it does not speak TLS as this side does"


class Code(IntEnum):
    """The numbers of OpenSSL that say more than that nobody trusted has signed a certificate."""

    NOT_YET_VALID = 9
    EXPIRED = 10
    OTHER_HOST = 62
    OTHER_ADDRESS = 64


_BY_CODE: dict[int, TlsFault] = {
    Code.NOT_YET_VALID: TlsFault.NOT_YET_VALID,
    Code.EXPIRED: TlsFault.EXPIRED,
    Code.OTHER_HOST: TlsFault.OTHER_HOST,
    Code.OTHER_ADDRESS: TlsFault.OTHER_HOST,
}
_ABOUT_OURS = ("CERTIFICATE", "UNKNOWN_CA")  # in the names of the server's alerts
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNSUPPORTED_PROTOCOL")
_ADVICE = {
    TlsFault.NOT_YET_VALID: "compare the clocks of both machines",
    TlsFault.EXPIRED: "renew it at the server",
    TlsFault.OTHER_HOST: "name the server as the certificate does",
    TlsFault.UNKNOWN_AUTHORITY: "trust the authority that signed it",
    TlsFault.OWN_CERTIFICATE: "give one that an authority of the server has signed",
    TlsFault.NO_TLS: "name the port at which it speaks TLS",
}


def tls_fault(error: BaseException) -> TlsFault | None:
    """Why the TLS handshake failed because of which this error was raised; None for another error."""
    refusal = tls_error_behind(error)
    if refusal is None:
        return None
    if isinstance(refusal, ssl.SSLCertVerificationError):
        return _BY_CODE.get(refusal.verify_code, TlsFault.UNKNOWN_AUTHORITY)
    reason = refusal.reason or ""
    if "ALERT" in reason and any(name in reason for name in _ABOUT_OURS):
        return TlsFault.OWN_CERTIFICATE
    return TlsFault.NO_TLS if reason in _NO_TLS else None


def advice_on(error: BaseException) -> str:
    """What is wrong with TLS, and what to do, for whoever made the ``ssl.SSLContext``; the error's own words
    for another error."""
    fault = tls_fault(error)
    return f"{fault.value}: {_ADVICE[fault]}" if fault is not None else str(error)


def tls_error_behind(error: BaseException) -> ssl.SSLError | None:
    """The error of OpenSSL among the causes of this one, None if there is none."""
    open_errors: list[BaseException | None] = [error]
    looked_at: set[int] = set()
    while open_errors:
        cause = open_errors.pop()
        if cause is None or id(cause) in looked_at:
            continue
        if isinstance(cause, ssl.SSLError):
            return cause
        looked_at.add(id(cause))
        open_errors += [cause.__cause__, cause.__context__, *getattr(cause, "errors", ())]
    return None
