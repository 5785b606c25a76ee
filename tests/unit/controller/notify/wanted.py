"""Entries and targets for the tests of notifications, with all else filled in."""

from controller.history.entries import Entry, Phase, Severity
from controller.notify.target import Target
from controller.notify.targets import Access

NOW_MS = 1_800_000_000_000
ACCESS = Access("http://127.0.0.1:9/hook", "secret-key", {"X-Token": "secret"})


def target(**more: object) -> Target:
    """A webhook that wants everything, unless it says otherwise."""
    fields: dict[str, object] = {
        "name": "hook",
        "kind": "webhook",
        "url": "https://host/x",
        "events": ("decision", "alarm"),
    }
    return Target(**{**fields, **more})  # type: ignore[arg-type]


def alarm(phase: Phase = "begins", *, about: str = "prober", severity: Severity = "warning") -> Entry:
    """That an alarm begins or ends."""
    return Entry(
        NOW_MS,
        "alarm",
        about,
        text=f"{about}: its last word is over",
        severity=severity,
        phase=phase,
        key=f"alarm:{about}",
        why=("it is silent",),
    )


def move(number: int = 1, *, severity: Severity = "info") -> Entry:
    """A decision, which has no length."""
    return Entry(NOW_MS, "move", "table", text=f"moved {number}", severity=severity, key=f"decision:{number}")
