"""Why TLS with a server fails, in words, and which setting a person corrects. ``tieline.tls_faults`` tells
the reasons apart. Tests: tests/integration/test_secured.py and test_secured_redis.py.
"""

from typing import NamedTuple

from tieline.tls_faults import TlsFault, tls_error_behind, tls_fault


class CertificateFault(NamedTuple):
    """``why``: what is wrong; ``remedy``: what to do."""

    why: str
    remedy: str


def certificate_fault(error: BaseException, setting: str) -> CertificateFault | None:
    """What is wrong with TLS or a certificate because of which this error was raised; None for another error.
    ``setting``: the variable with the server's address, such as TIELINE_REDIS."""
    if (fault := tls_fault(error)) is None:
        return None
    why = fault.value
    match fault:
        case TlsFault.NOT_YET_VALID:
            remedy = "compare the clocks of both machines"
        case TlsFault.EXPIRED:
            remedy = "renew it at the server"
        case TlsFault.OTHER_HOST:
            remedy = f"name the server in {setting} as the certificate does"
        case TlsFault.OWN_CERTIFICATE:
            remedy = (
                f"name one that its authority has signed in {setting}_CERT_FILE, and its key in "
                f"{setting}_KEY_FILE"
            )
        case TlsFault.NO_TLS:
            remedy = f"name the port at which it speaks TLS in {setting}"
        case TlsFault.UNKNOWN_AUTHORITY:
            why += f": {getattr(tls_error_behind(error), 'verify_message', '')}"
            remedy = f"name the file with the certificate of its authority in {setting}_CA_FILE"
    return CertificateFault(why, remedy)
