"""Which commands are in force."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.command_log import DRAINS_MAX, IDS_KEPT_MAX, OVERRIDE_MAX_MS, CommandLog
from tieline.events import Command

NOW_MS = 1_800_000_000_000


def drain(scope: str = "azure/eu", id: str = "a", for_ms: int = 60_000) -> Command:
    return Command(id, "drain", scope, "op", "why", NOW_MS, NOW_MS + for_ms)


def undrain(scope: str = "azure/eu", id: str = "u") -> Command:
    return Command(id, "undrain", scope, "op", "why", NOW_MS)


def read(*commands: Command | None, unsigned: bool = True) -> CommandLog:
    log = CommandLog()
    for offset, command in enumerate(commands):
        log = log.apply(offset, NOW_MS, command, unsigned_allowed=unsigned)
    return log


def ids(log: CommandLog, at_ms: int = NOW_MS) -> list[str]:
    return [command.id for command in log.in_force(at_ms)]


def test_drain_holds_until_it_expires() -> None:
    """To the millisecond, with nobody having to do anything; and it is known when that will be."""
    log = read(drain())
    assert ids(log, NOW_MS + 59_999) == ["a"]
    assert ids(log, NOW_MS + 60_000) == []
    assert log.next_expiry_ms(NOW_MS) == NOW_MS + 60_000
    assert log.next_expiry_ms(NOW_MS + 60_000) is None


def test_undrain_takes_back_exactly_its_scope() -> None:
    """All drains of the scope, and neither a wider nor a narrower one."""
    wider, narrower = drain("azure", "w"), drain("azure/eu/gpt", "n")
    assert ids(read(drain(), drain(id="b"), wider, narrower, undrain())) == ["w", "n"]


def test_drain_after_undrain_holds() -> None:
    """The order in the log decides."""
    assert ids(read(drain(), undrain(), drain(id="b"))) == ["b"]


def test_id_counts_once() -> None:
    """A drain that was sent twice doesn't come back after it was taken back."""
    assert ids(read(drain(), undrain(), drain())) == []


@pytest.mark.parametrize(
    ("command", "unsigned", "why"),
    [
        (drain(), False, "unsigned"),
        (undrain(), False, "unsigned"),
        (replace(drain(), signature="abc"), True, "no keys"),
        (drain(for_ms=0), True, "expired before it arrived"),
        (drain(for_ms=OVERRIDE_MAX_MS + 1), True, "30 days"),
        (None, True, "not a command"),
    ],
)
def test_refused_command_changes_nothing_and_says_why(
    command: Command | None, unsigned: bool, why: str
) -> None:
    """It is read over (the offset moves on), not in force, and its refusal has a reason."""
    log = read(command, unsigned=unsigned)
    assert (log.next_offset, log.drains) == (1, ())
    assert why in log.refused


def test_refusal_is_of_the_last_record_only() -> None:
    """A good command after a bad one is taken and not called refused."""
    log = read(None, drain())
    assert log.refused == ""
    assert ids(log) == ["a"]


def test_everything_has_a_limit() -> None:
    """No more drains and remembered ids than the limits say; the drain that is too many is refused."""
    log = read(*(drain(id=f"d{number}") for number in range(DRAINS_MAX + 1)))
    assert len(log.drains) == DRAINS_MAX
    assert "in force already" in log.refused
    assert len(log.seen) == IDS_KEPT_MAX
