"""Failures of connections in the caller's words."""

import socket
import ssl

import pytest

from tieline._http.failures import broken_off, invalid_request, not_connected
from tieline._http.http1 import Http1, place_of
from tieline._http.messages import WireError
from tieline.events import ResultClass

POOL = "azure/uksouth/gpt"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), f"{POOL} refused the connection at h:443"),
        (socket.gaierror(-2, "Name unknown"), f"{POOL}: the name h has no address (Name unknown)"),
        (OSError(113, "No route to host"), f"{POOL} can't be reached at h:443 (No route to host)"),
        (ssl.SSLError(1, "WRONG_VERSION"), f"{POOL}: no TLS connection to h:443"),
    ],
)
def test_why_there_is_no_connection(error: OSError, text: str) -> None:
    """The pool, the place and the reason, without numbers or names of exceptions."""
    failure = not_connected(POOL, "h", 443, error)
    assert failure.result is ResultClass.CONNECT
    assert str(failure).startswith(text)


def test_how_a_connection_ended() -> None:
    """Closed or reset, and whether the answer had begun."""
    assert (
        str(broken_off(POOL, ResultClass.CONNECT)) == f"the connection was closed by {POOL} before any answer"
    )
    cut = broken_off(POOL, ResultClass.CUT, ConnectionResetError(104, "Connection reset by peer"))
    assert str(cut) == f"the connection was reset by {POOL} in the middle of the answer"


def test_a_header_at_fault_is_named_without_its_value() -> None:
    """The value may be a secret."""
    with pytest.raises(WireError) as caught:
        Http1().request("POST", place_of("http://h/"), [(b"x-key", b"sk-secret\n")], b"")
    assert "'x-key'" in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert invalid_request([]).result is ResultClass.CLIENT_ERROR
