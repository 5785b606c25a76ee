"""Who is let in."""

from pathlib import Path

import pytest

from controller.process.errors import SettingError
from controller.web.admission import TOKENS, Tokens

FIRST = "a-token-of-some-length"


def test_tokens_are_kept_as_digests_only(tmp_path: Path) -> None:
    """From a file and the environment; a changed file is read anew; a bad one changes nothing."""
    path = tmp_path / "tokens"
    path.write_text(f"# clients\n\n{FIRST}\n")
    tokens = Tokens(path, {TOKENS: "b" * 20})
    assert tokens.allowed(f"Bearer {FIRST}")
    assert tokens.allowed("bearer " + "b" * 20)
    assert not tokens.allowed(f"Basic {FIRST}")
    assert not tokens.allowed("")
    assert FIRST not in repr(tokens) + str(vars(tokens))
    path.write_text("short\n")
    with pytest.raises(SettingError, match="token 1 is not valid") as caught:
        tokens.reread()
    assert "short" not in str(caught.value)
    assert tokens.allowed(f"Bearer {FIRST}")
    path.write_text("c" * 20 + "\n")
    assert tokens.reread()
    assert not tokens.reread()
    assert tokens.allowed("Bearer " + "c" * 20)
    assert not tokens.allowed(f"Bearer {FIRST}")
