"""The log of a stand-in stays within its limit."""

from __future__ import annotations

from pathlib import Path

from lab.standins.journal import Journal


def test_a_long_log_begins_anew(tmp_path: Path) -> None:
    """There are at most two files, each hardly above the limit, and they have the newest lines."""
    journal = Journal(tmp_path / "a.jsonl", "run", lambda: 0, keep_bytes=1_000)
    for number in range(500):
        journal.note("capacity", pool=f"p{number}")
    journal.close()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes.keys() == {"a.jsonl", "a.1"}
    assert max(sizes.values()) < 1_100
    assert '"p499"' in (tmp_path / "a.jsonl").read_text() + (tmp_path / "a.1").read_text()


def test_without_a_limit_nothing_is_set_aside(tmp_path: Path) -> None:
    """One file keeps everything, which the demo needs for its facts."""
    journal = Journal(tmp_path / "a.jsonl", "run", lambda: 0)
    for number in range(500):
        journal.note("capacity", pool=f"p{number}")
    journal.close()
    assert (tmp_path / "a.jsonl").read_text().count("\n") == 500
    assert len(list(tmp_path.iterdir())) == 1
