"""One line for each request."""

import json
from pathlib import Path

import pytest

from controller.process.errors import SettingError
from gateway.access_log import AccessLog
from gateway.visit import Visit


def test_a_line_says_who_asked_for_what_and_how_it_ended(tmp_path: Path) -> None:
    """And appends to what is there."""
    visit = Visit(0.0, "POST", "/v1/chat/completions", peer="10.0.0.1", caller="search")
    visit.replied(200, [(b"x-tieline-pool", b"azure/uksouth/gpt"), (b"x-tieline-attempts", b"2")])
    visit.usage = 12, 34
    for _ in range(2):
        log = AccessLog(str(tmp_path / "access.log"))
        log.note(visit)
        log.close()
    first, second = map(json.loads, (tmp_path / "access.log").read_text().splitlines())
    assert first["timestamp"] <= second["timestamp"]
    entry = {name: first[name] for name in ("caller", "status", "pool", "attempts", "answer_tokens")}
    assert entry == {
        "caller": "search",
        "status": 200,
        "pool": "azure/uksouth/gpt",
        "attempts": "2",
        "answer_tokens": 34,
    }


def test_a_place_that_can_not_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    """Not with the first request."""
    with pytest.raises(SettingError, match="it can't be written"):
        AccessLog(str(tmp_path / "missing" / "access.log"))


def test_without_a_place_nothing_is_kept() -> None:
    """Whatever is noted."""
    log = AccessLog("")
    log.note(Visit(0.0, "GET", "/v1/models", peer=""))
    log.close()
