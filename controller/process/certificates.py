"""Why a server's certificate is refused, in words, and what a person can do about it.

The library OpenSSL names the reason by a number (``X509_V_ERR_*`` of its manual page
X509_STORE_CTX_get_error). redis-py and asyncio hide the error of OpenSSL behind errors of their own, so it is
looked for among the causes. Tests: tests/integration/test_secured_redis.py.
"""

import ssl
from enum import IntEnum
from typing import NamedTuple


class Code(IntEnum):
    """The numbers of OpenSSL that have a remedy of their own."""

    NOT_YET_VALID = 9
    EXPIRED = 10
    OTHER_HOST = 62
    OTHER_ADDRESS = 64


class CertificateFault(NamedTuple):
    """``why``: what is wrong; ``remedy``: what to do."""

    why: str
    remedy: str


def certificate_fault(error: BaseException, setting: str) -> CertificateFault | None:
    """What is wrong with the certificate because of which this error was raised; None for another error.
    ``setting``: the variable with the server's address, such as TIELINE_REDIS."""
    if (refusal := _refusal_behind(error)) is None:
        return None
    match refusal.verify_code:
        case Code.NOT_YET_VALID:
            return CertificateFault("its certificate is not valid yet", "compare the clocks of both machines")
        case Code.EXPIRED:
            return CertificateFault("its certificate has expired", "renew it at the server")
        case Code.OTHER_HOST | Code.OTHER_ADDRESS:
            return CertificateFault(
                "its certificate is for another host", f"name the server in {setting} as the certificate does"
            )
        case _:
            return CertificateFault(
                f"no authority that is trusted here has signed its certificate: {refusal.verify_message}",
                f"name the file with the certificate of its authority in {setting}_CA_FILE",
            )


def _refusal_behind(error: BaseException) -> ssl.SSLCertVerificationError | None:
    open_errors: list[BaseException | None] = [error]
    looked_at: set[int] = set()
    while open_errors:
        cause = open_errors.pop()
        if cause is None or id(cause) in looked_at:
            continue
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        looked_at.add(id(cause))
        open_errors += [cause.__cause__, cause.__context__, *getattr(cause, "errors", ())]
    return None
