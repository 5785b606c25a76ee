"""Tokens that are read anew while the gateway runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.process.errors import SettingError, UserError
from gateway.callers import Callers
from gateway.configuration import load_gateway
from gateway.rereading import Rereading

FIRST, SECOND = "a-token-of-some-length", "another-token-of-some-length"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def write(path: Path, tokens: Sequence[dict[str, Any]], **more: Any) -> None:
    """A file of one workload; JSON is YAML. It takes the place of the last one, as editors do it."""
    content = {"workloads": [{"workload": "chat", "origins": ["eu"]}], "tokens": tokens, **more}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)


def in_file(path: Path, token: str) -> dict[str, Any]:
    """A caller whose token lies in a file of its own."""
    path.write_text(token)
    return {"name": path.stem, "secret": {"file": str(path)}}


def rereading_of(path: Path) -> Rereading:
    """As a worker begins with it."""
    rereading = Rereading(path, load_gateway(path), {})
    rereading.first()
    return rereading


def names(callers: Callers | None) -> set[str]:
    """Who may call; empty where nothing has changed."""
    return {caller.name for caller in callers.everybody} if callers is not None else set()


def test_nothing_is_read_while_no_file_changes(path: Path, tmp_path: Path) -> None:
    """Whoever has no file to follow has the callers that it was given."""
    write(path, [in_file(tmp_path / "search", FIRST)])
    assert rereading_of(path).changed() is None
    rereading = Rereading(None, load_gateway(path), {})
    assert names(rereading.first()) == {"search"}
    assert rereading.changed() is None


def test_a_new_token_and_a_replaced_one_are_taken(path: Path, tmp_path: Path) -> None:
    """Whether the file itself changes, or the file that it names a token in, also one that is named newly."""
    search = in_file(tmp_path / "search", FIRST)
    write(path, [search])
    rereading = rereading_of(path)
    (tmp_path / "search").write_text(SECOND)
    callers = rereading.changed()
    assert callers is not None
    assert callers.find(FIRST) is None
    assert callers.find(SECOND) is not None
    write(path, [search, in_file(tmp_path / "nightly", FIRST)])
    assert names(rereading.changed()) == {"search", "nightly"}
    (tmp_path / "nightly").write_text("a-third-token-of-some-length")
    assert names(rereading.changed()) == {"search", "nightly"}
    write(path, [search])
    assert names(rereading.changed()) == {"search"}
    assert rereading.changed() is None


def test_a_mistake_changes_nothing_and_is_told_once(path: Path, tmp_path: Path) -> None:
    """A file that is half written, a token that is gone: the next change is looked at again."""
    write(path, [in_file(tmp_path / "search", FIRST)])
    rereading = rereading_of(path)
    whole = path.read_text()
    path.write_text(whole[:30])
    with pytest.raises(UserError):
        rereading.changed()
    assert rereading.changed() is None
    path.write_text(whole)
    assert names(rereading.changed()) == {"search"}
    (tmp_path / "search").unlink()
    with pytest.raises(UserError, match="search"):
        rereading.changed()
    (tmp_path / "search").write_text(SECOND)
    assert names(rereading.changed()) == {"search"}


def test_the_last_token_is_not_taken_away(path: Path, tmp_path: Path) -> None:
    """Without any token everybody could call, and an editor may have saved an unfinished file."""
    write(path, [in_file(tmp_path / "search", FIRST)])
    rereading = rereading_of(path)
    write(path, [])
    with pytest.raises(SettingError, match="everybody may call"):
        rereading.changed()


def test_a_worker_that_is_started_again_has_the_tokens_of_now(path: Path, tmp_path: Path) -> None:
    """It was given the file of back then, with a token that has been taken away. That one counts only while
    the new file has a mistake."""
    search, nightly = in_file(tmp_path / "search", FIRST), in_file(tmp_path / "nightly", SECOND)
    write(path, [search, nightly])
    back_then = load_gateway(path)
    write(path, [search])
    assert names(Rereading(path, back_then, {}).first()) == {"search"}
    path.write_text("{")
    assert names(Rereading(path, back_then, {}).first()) == {"search", "nightly"}
