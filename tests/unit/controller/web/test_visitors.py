"""Who may look at the page."""

from pathlib import Path

import pytest

from controller.process.errors import SettingError
from controller.web.admission import TOKENS, Tokens
from controller.web.visitors import (
    SESSION_COOKIE,
    SESSION_MS,
    Caller,
    ProxyTrust,
    Visitors,
    read_proxy_trust,
)

TOKEN, OTHER = "correct-horse-battery-staple", "another-horse-battery-staple"
NOW_MS = 1_800_000_000_000
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"


def visitors(tokens: str = TOKEN, proxy: ProxyTrust | None = None) -> Visitors:
    return Visitors(Tokens(None, {TOKENS: tokens}), proxy or ProxyTrust())


def cookie(session: str | None) -> str:
    return f"other=1; {SESSION_COOKIE}={session}"


def test_a_token_or_a_session_of_it_lets_in() -> None:
    """The header of programs and the cookie of browsers count alike, until the session's end."""
    guard = visitors()
    session = guard.session_for(TOKEN, NOW_MS)
    assert session is not None
    assert guard.allowed(Caller(ELSEWHERE, authorization=f"Bearer {TOKEN}"), NOW_MS)
    assert guard.allowed(Caller(ELSEWHERE, cookie=cookie(session)), NOW_MS + SESSION_MS - 1)
    assert not guard.allowed(Caller(ELSEWHERE, cookie=cookie(session)), NOW_MS + SESSION_MS)
    assert not guard.allowed(Caller(HERE, host="127.0.0.1:8440"), NOW_MS)
    assert guard.session_for(OTHER, NOW_MS) is None
    assert guard.session_for("", NOW_MS) is None


def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    """A token that was taken out of the file takes its sessions along; those of other tokens go on."""
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n{OTHER}\n")
    tokens = Tokens(file, {})
    guard = Visitors(tokens, ProxyTrust())
    sessions = [guard.session_for(token, NOW_MS) for token in (TOKEN, OTHER)]
    file.write_text(f"{OTHER}\n")
    assert tokens.reread()
    assert [guard.allowed(Caller(ELSEWHERE, cookie=cookie(each)), NOW_MS) for each in sessions] == [
        False,
        True,
    ]


@pytest.mark.parametrize("forged", ["", ".", "x.y", "9" * 20 + ".ab", "1800000900000.", "1800000900000.é"])
def test_a_made_up_session_counts_for_nothing(forged: str) -> None:
    """Nor does one whose expiry was changed."""
    guard = visitors()
    assert not guard.allowed(Caller(ELSEWHERE, cookie=cookie(forged)), NOW_MS)
    session = guard.session_for(TOKEN, NOW_MS)
    assert session is not None
    longer = f"{NOW_MS + 10 * SESSION_MS}.{session.partition('.')[2]}"
    assert not guard.allowed(Caller(ELSEWHERE, cookie=cookie(longer)), NOW_MS)


@pytest.mark.parametrize(
    ("host", "may_look"),
    [("127.0.0.1:8440", True), ("localhost", True), ("[::1]:8440", True), ("evil.example:8440", False)],
)
def test_without_tokens_only_this_machine_by_its_own_names(host: str, may_look: bool) -> None:
    """A foreign name that leads to loopback is how another site would read the page."""
    assert visitors("").allowed(Caller(HERE, host=host), NOW_MS) is may_look


def test_a_header_counts_only_from_a_trusted_proxy() -> None:
    """From there it lets in; from anywhere else it is only text. Then nobody looks without a name."""
    proxy = read_proxy_trust("X-Forwarded-Email", ["10.0.0.0/24"])
    guard = visitors(proxy=proxy)
    assert guard.allowed(Caller("10.0.0.5", signed_in="amara@example.com"), NOW_MS)
    assert not guard.allowed(Caller("10.0.1.5", signed_in="amara@example.com"), NOW_MS)
    assert not guard.allowed(Caller("10.0.0.5", signed_in=" "), NOW_MS)
    assert not visitors("", proxy).allowed(Caller(HERE, host="localhost"), NOW_MS)


@pytest.mark.parametrize(
    ("header", "addresses", "words"),
    [
        ("X-Forwarded-Email", [], "give both"),
        (None, ["10.0.0.5"], "give both"),
        ("X Email", ["10.0.0.5"], "name of a header"),
        ("X-Forwarded-Email", ["proxy.example"], "an address or a network"),
    ],
)
def test_mistakes_are_named(header: str | None, addresses: list[str], words: str) -> None:
    """A setting that would open the page to everybody, or to nobody, is refused at once."""
    with pytest.raises(SettingError, match=words):
        read_proxy_trust(header, addresses)
