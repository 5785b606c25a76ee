"""Who calls, by the token that a request shows."""

from hashlib import sha256
from pathlib import Path

import pytest

from controller.process.errors import SettingError, UserError
from controller.process.secret_places import SecretPlace
from gateway.callers import Callers, token_shown
from gateway.configuration import CallerToken, GatewayFile, ServedWorkload

TOKEN, OTHER = "a-token-of-some-length", "another-token-of-some-length"
CHAT = ServedWorkload("chat", ("eu", "us"))
BATCH = ServedWorkload("batch", ("eu",))


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def file(*tokens: CallerToken) -> GatewayFile:
    return GatewayFile(workloads=(CHAT, BATCH), tokens=tokens)


def test_a_token_is_found_wherever_it_is_kept(tmp_path: Path) -> None:
    """As a digest in the file of the gateway, in a file of its own, or in the environment."""
    (tmp_path / "token").write_text(f"{OTHER}\n")
    callers = Callers(
        file(
            CallerToken("digest", sha256=digest(TOKEN)),
            CallerToken("file", secret=SecretPlace(file=str(tmp_path / "token"))),
            CallerToken("env", secret=SecretPlace(env="NIGHTLY")),
        ),
        {"NIGHTLY": "the-token-of-the-night"},
    )
    found = [callers.find(shown) for shown in (TOKEN, OTHER, "the-token-of-the-night")]
    assert [caller.name for caller in found if caller is not None] == ["digest", "file", "env"]
    assert callers.find("a-token-of-some-lengtH") is None
    assert callers.find(None) is None
    assert callers.find(digest(TOKEN)) is None


def test_what_is_kept_of_tokens_tells_nothing() -> None:
    """Neither the token nor its digest can be read from the callers."""
    callers = Callers(file(CallerToken("a", sha256=digest(TOKEN))), {})
    assert bytes.fromhex(digest(TOKEN)) not in callers._callers
    assert TOKEN not in repr(vars(callers))


def test_a_token_says_where_its_requests_belong() -> None:
    """By default to the first workload and origin of the file."""
    plain, placed = Callers(
        file(
            CallerToken("plain", sha256=digest(TOKEN)),
            CallerToken("placed", sha256=digest(OTHER), workload="batch", also=("chat",)),
        ),
        {},
    ).everybody
    assert (plain.workload, plain.origin, plain.may_use) == ("chat", "eu", frozenset({"chat"}))
    assert (placed.workload, placed.origin, placed.may_use) == ("batch", "eu", frozenset({"batch", "chat"}))


def test_without_tokens_anybody_may_use_everything() -> None:
    """Such a gateway listens on this machine only."""
    caller = Callers(file(), {}).find(None)
    assert caller is not None
    assert caller.may_use == {"chat", "batch"}


def test_a_token_that_can_not_be_is_refused_without_being_repeated() -> None:
    """A short one, one that two callers would have, and one that is not there."""
    short = CallerToken("a", secret=SecretPlace(env="A"))
    with pytest.raises(SettingError, match=r"tokens\[0\] \(a\): the token is not valid") as caught:
        Callers(file(short), {"A": "short"})
    assert "'short'" not in str(caught.value)
    twice = (CallerToken("a", sha256=digest(TOKEN)), CallerToken("b", sha256=digest(TOKEN)))
    with pytest.raises(SettingError, match="it is the token of a too"):
        Callers(file(*twice), {})
    with pytest.raises(UserError, match="neither A nor A_FILE is set"):
        Callers(file(short), {})


@pytest.mark.parametrize(
    "header",
    [
        (b"Authorization", b"Bearer " + TOKEN.encode()),
        (b"authorization", b"bearer " + TOKEN.encode()),
        (b"api-key", TOKEN.encode()),
        (b"X-Api-Key", TOKEN.encode()),
        (b"x-goog-api-key", TOKEN.encode()),
    ],
)
def test_a_token_is_read_where_sdks_put_it(header: tuple[bytes, bytes]) -> None:
    """OpenAI's, that of Azure, Anthropic's and Google's."""
    assert token_shown([(b"host", b"x"), header]) == TOKEN


def test_another_kind_of_authorization_is_no_token() -> None:
    """As one that a browser sends."""
    assert token_shown([(b"authorization", b"Basic YTpi")]) is None
    assert token_shown([]) is None
