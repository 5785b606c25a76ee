"""Where the cache is, and who owns a run's directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.stack import cache
from lab.stack.cache import RunDirectory, cache_directory, remove_stale
from tests.places import ROOT


def test_setting_wins(tmp_path: Path) -> None:
    """TIELINE_CACHE names the cache whatever else is set."""
    assert cache_directory({"TIELINE_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/nowhere"}) == tmp_path


def test_checkout_keeps_its_own() -> None:
    """In a checkout the cache is the project's, so that removing the project removes everything."""
    assert cache_directory({}) == ROOT / ".cache"


def test_installed_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a checkout it is the user's cache directory."""
    monkeypatch.setattr(cache, "CHECKOUT", tmp_path)
    assert cache_directory({"XDG_CACHE_HOME": str(tmp_path / "x")}) == tmp_path / "x" / "tieline"
    assert cache_directory({}) == Path.home() / ".cache" / "tieline"


def test_temporary_directory_goes(tmp_path: Path) -> None:
    """A run's own directory is gone after release, which may be repeated."""
    directory = RunDirectory.claim(tmp_path)
    assert directory.path.is_dir()
    directory.release()
    directory.release()
    assert not directory.path.exists()


def test_chosen_directory_stays(tmp_path: Path) -> None:
    """A directory that the user named is kept, and one at a time may own it."""
    chosen = tmp_path / "mine"
    directory = RunDirectory.claim(tmp_path / "runs", chosen)
    with pytest.raises(BlockingIOError):
        RunDirectory.claim(tmp_path / "runs", chosen)
    directory.release()
    assert chosen.is_dir()
    RunDirectory.claim(tmp_path / "runs", chosen).release()


def test_only_stale_directories_are_removed(tmp_path: Path) -> None:
    """A directory whose owner is gone is removed; those of the living, and what isn't a run's, stay."""
    living = RunDirectory.claim(tmp_path)
    stale = tmp_path / "stack-left"
    (stale / "kafka").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    assert remove_stale(tmp_path) == [stale]
    assert not stale.exists()
    assert living.path.is_dir()
    assert (tmp_path / "other").is_dir()
    living.release()
