"""One rule for what programs read: every command that prints something has `--json`, every one that changes
something `--dry-run`."""

import json
from pathlib import Path

import pytest

from controller.cli import COMMANDS, main
from controller.cli.grammar import grammar

# They run until a signal, and print nothing.
SERVES = {"controller", "web", "probe", "notify", "collect", "envoy", "gateway", "picker"}
TEXT = {"completion", "man", "policy init"}  # for a shell, a pager, and a file of a person's own
QUIET = {"context add", "context use"}  # they say in one line that it was done
CHANGES = (
    *("drain", "evacuate", "failover", "pin", "mode", "freeze", "undrain", "adopt-lineage", "rebuild"),
    "countersign",
    *("emit health", "emit capacity", "policy apply", "overlay exclude", "overlay withdraw"),
    *("deadletter redrive", "deadletter discard", "drill"),
)


def help_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `--help` prints."""
    with pytest.raises(SystemExit):
        main([*words.split(), "--help"])
    return capsys.readouterr().out


def test_every_command_that_prints_has_json() -> None:
    """Also each of its own subcommands. What has none is named above, with the reason."""
    commands = [
        item for item in grammar().all() if not item.children and item.path and item.path[0] in COMMANDS
    ]
    without = {
        " ".join(item.path)
        for item in commands
        if not any("--json" in option.flags for option in item.options)
    }
    assert without == SERVES | TEXT | QUIET


@pytest.mark.parametrize("words", CHANGES)
def test_what_changes_something_can_be_rehearsed(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` sends nothing."""
    assert "--dry-run" in help_of(words, capsys)


def test_a_rehearsed_event_is_printed_and_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is reached: there is no Kafka at this address."""
    pool = ("--source", "fleet", "--pool", "oci/uk-london-1/gpt-oss", "--limit-units-per-s", "900")
    assert main(["emit", "capacity", *pool, "--dry-run", "--kafka", "127.0.0.1:9"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["is_sent"], report["records"]) == (False, [])
    assert report["events"][0]["pools"][0]["limit_units_per_s"] == 900.0
