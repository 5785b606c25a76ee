"""Which errors say that TLS with a server failed, and why."""

import ssl

import pytest

from tieline.tls_faults import TlsFault, advice_on, tls_fault


def refusal(verify_code: int) -> ssl.SSLCertVerificationError:
    """This side refuses the server's certificate."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = verify_code
    return error


def failure(reason: str) -> ssl.SSLError:
    """Another error of OpenSSL, with this reason."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def behind(error: OSError, *, named: bool) -> RuntimeError:
    """An error of a library that was raised because of this one. ``named``: it names its cause."""
    shown = RuntimeError("the library's own error")
    shown.__context__, shown.__cause__ = error, error if named else None
    shown.__suppress_context__ = True
    return shown


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (refusal(9), TlsFault.NOT_YET_VALID),
        (refusal(10), TlsFault.EXPIRED),
        (refusal(62), TlsFault.OTHER_HOST),
        (refusal(64), TlsFault.OTHER_HOST),
        (refusal(18), TlsFault.UNKNOWN_AUTHORITY),
        (refusal(20), TlsFault.UNKNOWN_AUTHORITY),
        (failure("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TlsFault.OWN_CERTIFICATE),
        (failure("SSLV3_ALERT_BAD_CERTIFICATE"), TlsFault.OWN_CERTIFICATE),
        (failure("TLSV1_ALERT_UNKNOWN_CA"), TlsFault.OWN_CERTIFICATE),
        (failure("WRONG_VERSION_NUMBER"), TlsFault.NO_TLS),
        (failure("UNEXPECTED_EOF_WHILE_READING"), None),
        (ConnectionRefusedError(), None),
    ],
)
def test_the_reason_is_told_apart(error: OSError, fault: TlsFault | None) -> None:
    """Also behind an error of a library, whether it names its cause or only hides it."""
    assert tls_fault(error) is fault
    assert tls_fault(behind(error, named=True)) is fault
    assert tls_fault(behind(error, named=False)) is fault


def test_a_group_of_errors_is_searched_without_end_in_a_circle() -> None:
    """asyncio and redis-py bundle errors of several addresses."""
    first, second = OSError("first"), refusal(10)
    first.__context__ = RuntimeError("in front")
    first.__context__.__context__ = first
    assert tls_fault(ExceptionGroup("all", [first])) is None
    bundle = OSError("all")
    bundle.errors = (first, second)  # type: ignore[attr-defined]
    assert tls_fault(bundle) is TlsFault.EXPIRED


def test_advice_names_what_is_wrong_and_what_to_do() -> None:
    """For each fault; an error that is none keeps its words."""
    assert advice_on(refusal(10)) == "its certificate has expired: renew it at the server"
    assert advice_on(OSError("away")) == "away"
