"""The picker's file: all mistakes at once, with place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.process.errors import UserError
from picker.settings import is_endpoint, load_picker_file, parse_picker_file
from tests.places import ROOT

GOOD = """
listen: 127.0.0.1:9002
routes:
  - {workload: batch, origin: eu, headers: {x-team: night}}
  - {workload: chat, origin: eu}
"""


def mistakes(text: str) -> list[str]:
    """What is said of a file."""
    with pytest.raises(UserError) as caught:
        parse_picker_file(text)
    return str(caught.value).splitlines()


def test_a_small_file_is_enough() -> None:
    """Everything else has a default."""
    file = parse_picker_file(GOOD)
    assert [rule.workload for rule in file.routes] == ["batch", "chat"]
    assert (file.destination, file.fallbacks) == ("endpoint", 1)


def test_all_mistakes_are_told_at_once() -> None:
    """Each with its line and field."""
    text = """
listen: somewhere:9002
certificate: a.pem
destination: pools
endpoints: {a/r/d: [host:80]}
routes:
  - {workload: chat, origin: eu}
  - {workload: batch, origin: eu, colour: red}
"""
    lines = "\n".join(mistakes(text))
    for words in (
        "picker.yaml:2: listen: expected ADDRESS:PORT",
        "key: give both",
        "picker.yaml:4: destination: expected one of endpoint, pool",
        "expected ip:port",
        "routes[0]: this rule fits",
        "picker.yaml:8: routes[1].colour: unknown field",
    ):
        assert words in lines


def test_callers_show_certificates_over_tls_only() -> None:
    """An authority for them without TLS would protect nothing."""
    (line,) = mistakes(GOOD + "client_ca: ca.pem\n")
    assert "client_ca: certificates are shown over TLS" in line


def test_endpoints_belong_to_the_mode_that_uses_them() -> None:
    """With destination pool nobody would look at them."""
    (line,) = mistakes(GOOD + "destination: pool\nendpoints: {a/r/d: ['10.0.0.1:80']}\n")
    assert "endpoints: with destination pool" in line


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("10.0.0.1:80", True),
        ("[fd00::1]:80", True),
        ("fd00::1:80", False),
        ("[10.0.0.1]:80", False),
        ("localhost:80", False),
        ("10.0.0.1:0", False),
        ("10.0.0.1", False),
    ],
)
def test_an_endpoint_is_what_envoy_takes(text: str, good: bool) -> None:
    """An IP and a port, IPv6 in brackets."""
    assert is_endpoint(text) is good


def test_the_example_is_a_good_file() -> None:
    """And --listen takes the place of its address, if it is one."""
    example = ROOT / "examples" / "picker.yaml"
    assert load_picker_file(example, listen="127.0.0.1:1").listen == "127.0.0.1:1"
    with pytest.raises(UserError, match="--listen 'x': give an address and a port"):
        load_picker_file(example, listen="x")
    with pytest.raises(UserError, match="can't be read"):
        load_picker_file(Path("/nowhere"))
