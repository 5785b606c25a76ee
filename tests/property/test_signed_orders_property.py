"""Orders that nobody was entitled to give change nothing, in whatever order they come, for every reader."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.commands.authority import ISSUED_WITHIN_MS
from controller.commands.log import REPEATABLE_MS, CommandLog
from controller.core.policy.operators import ApprovalRule
from controller.routes.record import RoutesRecord
from tests.unit.controller.operating import KEYS, STRANGER, countersigned, order, rules, signed
from tests.unit.controller.operating import NOW_MS as BEGIN_MS
from tieline.events import Command
from tieline.table import Generation

RULES = rules(ApprovalRule(("drain:azure/*",)))
STEP_MS = 1_000
SCOPES = ("azure/eastus2", "azure/westus3", "gcp", "oci")
CHANGES: dict[str, tuple[Any, ...]] = {
    "id": ("other",),
    "verb": ("freeze", "undrain", "verdict"),
    "scope": ("azure", "coreweave", "*"),
    "actor": ("lee", "max", "eve", "kim "),
    "reason": ("another reason",),
    "issued_ms": (BEGIN_MS - 1, BEGIN_MS + 10),
    "expires_ms": (BEGIN_MS + 7_200_000, None),
    "signature": ("", "ed25519:00:AAAA", "x"),
    "state": ("down",),
    "guard": ("fresh_capacity",),
}
"""What somebody without a key may change of an order that was signed."""


@st.composite
def good(draw: st.DrawFn, number: int, at_ms: int, earlier: list[Command]) -> Command:
    """An order that kim may give, or an agreement of max to an earlier one."""
    waiting = [item for item in earlier if item.verb == "drain" and item.scope.startswith("azure")]
    agrees: bool = draw(st.booleans())
    if waiting and agrees:
        return countersigned(draw(st.sampled_from(waiting)), "max", f"g{number}", at_ms)
    verb = draw(st.sampled_from(("drain", "drain", "undrain")))
    return signed(order(verb, draw(st.sampled_from(SCOPES)), "kim", f"g{number}", at_ms))  # type: ignore[arg-type]


@st.composite
def hostile(draw: st.DrawFn, number: int, at_ms: int, earlier: list[Command]) -> Command | None:
    """What somebody can write who may write to the topic and has no right to the order."""
    kind = draw(st.sampled_from(("rubbish", "changed", "copied", "stranger", "lee", "elsewhere", "old")))
    fresh = order("drain", draw(st.sampled_from(SCOPES)), "kim", f"h{number}", at_ms)
    if kind == "changed" and earlier:
        name = draw(st.sampled_from(sorted(CHANGES)))
        changed = replace(draw(st.sampled_from(earlier)), **{name: draw(st.sampled_from(CHANGES[name]))})
        return changed if changed not in earlier else None
    if kind == "copied" and earlier:
        return draw(st.sampled_from(earlier))
    if kind == "stranger":
        return signed(fresh, draw(st.sampled_from((STRANGER, KEYS["lee"]))))
    if kind == "lee":
        return signed(replace(fresh, actor="lee", scope="oci"))
    if kind == "elsewhere":
        return signed(fresh, lineage="staging-1")
    if kind == "old":
        return signed(replace(fresh, issued_ms=at_ms - ISSUED_WITHIN_MS - 1))
    return None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_records_change_nothing_for_any_reader(data: st.DataObject) -> None:
    """Orders in force, pending orders and their answers are those of the good orders alone; and a reader that
    begins at any publication comes to the same."""
    whole, alone, follower = CommandLog(), CommandLog(), CommandLog()
    earlier: list[Command] = []
    at_ms = BEGIN_MS
    for number in range(data.draw(st.integers(1, 25))):
        at_ms += data.draw(st.sampled_from((STEP_MS, REPEATABLE_MS + STEP_MS)))
        is_good = data.draw(st.booleans())
        item = data.draw((good if is_good else hostile)(number, at_ms, earlier))
        whole = whole.apply(number, at_ms, item, rules=RULES)
        follower = follower.apply(number, at_ms, item, rules=RULES)
        if is_good and item is not None:
            alone = alone.apply(number, at_ms, item, rules=RULES)
            earlier.append(item)
        else:
            assert whole.refused
        if data.draw(st.booleans()):
            follower = CommandLog.after(published(whole, at_ms), rules=RULES)
        for log in (whole, follower):
            assert log.in_force(at_ms) == alone.in_force(at_ms)
            assert log.waiting(at_ms) == alone.waiting(at_ms)
            assert log.answers == alone.answers


def published(log: CommandLog, at_ms: int) -> RoutesRecord:
    """The publication that takes all of this log into account."""
    taken = log.taken(at_ms)
    return RoutesRecord(
        Generation("multicloud-1", 0, 1),
        at_ms,
        commands_next_offset=taken.next_offset,
        answers=taken.answers,
        orders=taken.orders,
        pending=taken.pending,
        rejections=taken.rejections,
        commands_topic_id=taken.topic_id,
    )
