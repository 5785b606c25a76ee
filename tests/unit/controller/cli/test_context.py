"""`tieline context`: what it lists, what it changes in the file, and that it shows no password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli import main

FILE = """# Mine.
contexts:
  prod: {kafka: "prod:9093", redis: "rediss://prod:6379/0", namespace: west}  # careful
  lab: {kafka: "lab:9092", redis: "redis://kim@lab:6379/0"}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The context file of a user who has set no variable of Tieline."""
    for name in ("TIELINE_KAFKA", "TIELINE_REDIS", "TIELINE_NAMESPACE", "TIELINE_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "tieline" / "config.yaml"
    path.parent.mkdir()
    path.write_text(FILE)
    path.chmod(0o640)
    return path


def test_use_changes_one_line_of_the_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Comments, the other lines and the mode of the file stay; a second use replaces the first."""
    assert main(["context", "use", "lab"]) == 0
    assert main(["context", "use", "prod"]) == 0
    assert path.read_text() == f"current: prod\n{FILE}"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]
    assert "context prod is the current one" in capsys.readouterr().out


def test_use_of_an_unknown_context_changes_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mistake names the contexts that there are."""
    assert main(["context", "use", "prd"]) == 2
    assert path.read_text() == FILE
    assert "there is no context 'prd'" in capsys.readouterr().err


def test_list_marks_the_current_context(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each; user and password of an address are not shown."""
    path.write_text(f"current: lab\n{FILE}")
    assert main(["context", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "* lab   Kafka lab:9092  Redis redis://***@lab:6379/0",
        "  prod  Kafka prod:9093  Redis rediss://prod:6379/0  namespace west",
    ]
    assert main(["context", "list", "--names"]) == 0
    assert capsys.readouterr().out == "lab\nprod\n"


def test_show_says_where_each_setting_comes_from(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag, a variable and a context are told apart."""
    path.write_text(f"current: prod\n{FILE}")
    monkeypatch.setenv("TIELINE_NAMESPACE", "east")
    assert main(["context", "show", "--kafka", "x:9092", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "context": "prod",
        "settings": {
            "kafka": {"value": "x:9092", "from": "--kafka"},
            "namespace": {"value": "east", "from": "TIELINE_NAMESPACE"},
            "redis": {"value": "rediss://prod:6379/0", "from": "prod"},
        },
    }


def test_without_a_file_the_list_says_how_to_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the place of the file, and the help that shows how it is written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    assert main(["context", "list"]) == 0
    assert "config.yaml has no contexts: `tieline context --help`" in capsys.readouterr().out


def test_add_writes_one_more_context(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the file stays as it is, and the current context too."""
    assert main(["context", "use", "prod"]) == 0
    capsys.readouterr()
    before = path.read_text()
    assert main(["context", "add", "east", "--kafka", "k:9092", "--redis", "redis://r:6379/0"]) == 0
    assert capsys.readouterr().out == f"context east is in {path}\n"
    added = '  east: {kafka: "k:9092", redis: "redis://r:6379/0"}\n'
    assert path.read_text() == before.replace("contexts:\n", f"contexts:\n{added}")
    assert main(["context", "add", "east", "--kafka", "k:9092"]) == 2
    assert "already has a context east" in capsys.readouterr().err


def test_the_first_context_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file and its directory are made, readable by their owner only."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["context", "add", "lab", "--kafka", "127.0.0.1:9092"]) == 0
    file = tmp_path / "tieline" / "config.yaml"
    assert file.read_text() == 'current: lab\ncontexts:\n  lab: {kafka: "127.0.0.1:9092"}\n'
    assert file.stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert main(["context", "list"]) == 0
    assert "* lab  Kafka 127.0.0.1:9092" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("east",), "give --kafka, --redis or both"),
        (("a b", "--kafka", "k:9092"), "is no name"),
        (("east", "--redis", "redis://:secret@r:6379/0"), "a password does not belong there"),
    ],
)
def test_a_context_that_can_not_be_added_changes_nothing(
    arguments: tuple[str, ...], expected: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says why."""
    before = path.read_text()
    assert main(["context", "add", *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert path.read_text() == before
