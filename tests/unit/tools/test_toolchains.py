"""Where tests get Node and Go from, and what they say when they can't."""

import json
from pathlib import Path

import pytest

from tools.toolchains import NoToolchainError, envoy, go, node_packages


def program(directory: Path, name: str, answer: str) -> Path:
    """A program that only says which version it is."""
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty path, an empty cache, and no index."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("TIELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "bin"


def test_a_program_on_the_path_is_taken_if_it_is_new_enough(place: Path) -> None:
    """Nothing is fetched then."""
    expected = program(place, "go", "go version go1.30.1 linux/amd64")
    assert go() == expected


def test_the_version_of_envoy_stands_behind_its_path(place: Path) -> None:
    """Numbers in the path are none of it."""
    expected = program(place, "envoy", "/opt/python3.11/envoy  version: 9e55/1.41.0/Clean/RELEASE/BoringSSL")
    assert envoy() == expected
    program(place, "envoy", "/opt/python3.11/envoy  version: 9e55/1.39.2/Clean/RELEASE/BoringSSL")
    with pytest.raises(NoToolchainError, match=r"envoy is not on the path in version 1\.40"):
        envoy()


@pytest.mark.parametrize("answer", ["go version go1.19.8 linux/amd64", "no version"])
def test_without_one_and_without_an_index_the_error_says_so(place: Path, answer: str) -> None:
    """It names what is missing, and nothing half installed is left for the next run."""
    program(place, "go", answer)
    for _ in range(2):
        with pytest.raises(NoToolchainError, match=r"go is not on the path in version 1\.26 or newer"):
            go()


def test_packages_are_installed_once_for_each_lock(place: Path, tmp_path: Path) -> None:
    """A change of any file beside the lock makes another copy."""
    program(place, "node", "v22.1.0")
    npm = program(place, "npm", "done")
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "package.json").write_text(json.dumps({"name": "x"}))
    first = node_packages(directory)
    npm.write_text("#!/bin/sh\nexit 1\n")
    assert node_packages(directory) == first
    (directory / "package.json").write_text(json.dumps({"name": "y"}))
    with pytest.raises(NoToolchainError, match="npm's packages can't be had"):
        node_packages(directory)
