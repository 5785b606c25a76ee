"""Times, overlays, and how an order is taken back: the same at the terminal and on the page. Pure."""

from datetime import UTC, datetime

from controller.core.model.words import duration
from controller.routes.record import PendingOrder
from tieline.events import TAKES_BACK, Command
from tieline.overlay import Overlay

NAMED_MAX = 4  # more in one line are counted, not named


def utc(at_ms: int) -> str:
    """``2026-01-31 12:00:00 UTC``: to the second, for people."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def taken_back_by(order: Command) -> str:
    """The command that ends the order before its time; empty where there is none."""
    if order.verb == "mode":
        return f"tieline mode {order.scope} policy"
    verb = next((back for back, verbs in TAKES_BACK.items() if order.verb in verbs), "")
    if order.workload:
        return f"tieline {verb} {order.workload} {order.scope}"
    if not verb:
        return ""
    scope = "" if order.scope == "*" else f" --scope {order.scope}" if order.guard else f" {order.scope}"
    return f"tieline {verb}{f' {order.guard}' if order.guard else ''}{scope}"


def waiting_words(item: PendingOrder) -> str:
    """What a pending order still needs, and the command by which another person gives it."""
    missing = item.approvals - len(item.signers)
    people = "one more person" if missing == 1 else f"{missing} more people"
    return (
        f"{people} must sign it until {utc(item.until_ms)}, with "
        f"`tieline countersign {item.order.id} --reason ...`"
    )


def overlay_in_words(overlay: Overlay, at_ms: int) -> str:
    """What the emergency overlay excludes, for how long, by whom and why."""
    left = duration(max(overlay.expires_ms - at_ms, 0))
    scopes = ", ".join(overlay.exclude) or "nothing"
    text = f"emergency overlay excludes {scopes} for {left} more, by {overlay.actor}: {overlay.reason}"
    return f"{text} (its signature is not checked here)"
