"""Orders that need more than one person: pending, countersigned, lapsed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.commands.authority import ISSUED_WITHIN_MS, OrderRules
from controller.commands.log import PENDING_MAX, PENDING_MAX_MS, CommandLog
from controller.commands.policies import first_policy, policy_after
from controller.core.policy.operators import ApprovalRule
from controller.routes.record import RoutesRecord
from tests.unit.controller.commands.changes import change
from tests.unit.controller.operating import (
    KEYS,
    NAMESPACE,
    NOW_MS,
    countersigned,
    order,
    rules,
    signed,
    signed_policy,
)
from tieline.events import Command, PolicyChange
from tieline.order_signing import fingerprint, sign_order
from tieline.table import Generation

TWO = ApprovalRule(("drain:azure/*",))
RULES = rules(TWO)
DRAIN = signed(order("drain", "azure/eastus2"))


def read(
    *commands: Command | PolicyChange,
    at_ms: int = NOW_MS,
    log: CommandLog | None = None,
    by: OrderRules = RULES,
) -> CommandLog:
    log = log or CommandLog()
    for command in commands:
        log = log.apply(log.next_offset, at_ms, command, rules=by)
    return log


def test_an_order_waits_for_a_second_person_and_then_holds_from_that_moment() -> None:
    """Accepted by its id, and not in force before the second signature."""
    waiting = read(DRAIN)
    assert (waiting.refused, waiting.orders) == ("", ())
    (item,) = waiting.waiting(NOW_MS)
    assert (item.signers, item.approvals, item.until_ms) == (("kim",), 2, NOW_MS + PENDING_MAX_MS)
    later_ms = NOW_MS + 5_000
    log = read(countersigned(DRAIN, "lee", at_ms=later_ms), log=waiting, at_ms=later_ms)
    assert (log.refused, log.pending) == ("", ())
    assert [(item.id, item.actor, item.issued_ms) for item in log.orders] == [("a", "kim", later_ms)]
    assert {answer.id: (answer.refused, answer.append_ms) for answer in log.answers} == {
        "a": ("", later_ms),
        "b": ("", later_ms),
    }


@pytest.mark.parametrize(
    ("agreement", "why"),
    [
        (countersigned(DRAIN, "kim"), "kim has signed a already: it needs another person"),
        (countersigned(replace(DRAIN, id="zz")), "no order zz waits for a signature"),
        (countersigned(replace(DRAIN, signature="other")), "it agrees to another order"),
        (countersigned(replace(DRAIN, scope="azure/westus3")), "it agrees to another order"),
        (signed(replace(countersigned(DRAIN, "lee"), actor="max"), KEYS["lee"]), "none of max's"),
    ],
)
def test_an_agreement_that_does_not_count_leaves_the_order_waiting(agreement: Command, why: str) -> None:
    """And says why."""
    log = read(DRAIN, agreement)
    assert why in log.refused
    assert log.orders == ()
    assert len(log.pending) == 1


def test_who_may_not_give_an_order_may_not_countersign_it() -> None:
    """A right to the same order is needed."""
    freeze = signed(order("freeze", "*"))
    log = read(freeze, countersigned(freeze, "lee"), by=rules(ApprovalRule(("freeze:*",))))
    assert "lee may not give freeze:*" in log.refused
    assert log.orders == ()


def test_a_wider_order_needs_the_approvals_of_all_that_it_touches() -> None:
    """Draining all of azure drains what needs two people; draining gcp does not."""
    assert len(read(signed(order("drain", "azure"))).pending) == 1
    assert read(signed(order("drain", "gcp"))).pending == ()


def test_three_people() -> None:
    """Each counts once."""
    three = rules(ApprovalRule(("drain:*",), approvals=3))
    log = read(DRAIN, countersigned(DRAIN, "lee"), countersigned(DRAIN, "lee", "c"), by=three)
    assert "lee has signed a already" in log.refused
    assert log.pending[0].signers == ("kim", "lee")
    log = read(countersigned(DRAIN, "max", "d"), log=log, by=three)
    assert (log.pending, len(log.orders)) == ((), 1)


def test_a_pending_order_lapses() -> None:
    """After fifteen minutes, or when the order itself would end."""
    late_ms = NOW_MS + PENDING_MAX_MS
    log = read(DRAIN)
    assert log.waiting(late_ms - 1)
    assert log.waiting(late_ms) == ()
    assert "no order a waits" in read(countersigned(DRAIN, at_ms=late_ms), log=log, at_ms=late_ms).refused
    short = signed(replace(order(), expires_ms=NOW_MS + 1_000))
    assert read(short).waiting(NOW_MS + 1_000) == ()


def test_a_pending_order_is_taken_back_like_one_in_force() -> None:
    """By its counterpart for exactly its scope."""
    assert read(DRAIN, signed(order("undrain", "azure/eastus2", id="u"))).pending == ()
    assert len(read(DRAIN, signed(order("undrain", "azure", id="u"))).pending) == 1


def test_everybody_who_signed_must_still_be_an_operator_when_it_takes_effect() -> None:
    """The policy at the last signature decides."""
    log = read(countersigned(DRAIN), log=read(DRAIN), by=rules(TWO, leave_out=("kim",)))
    assert "names no operator 'kim'" in log.refused
    assert log.orders == ()


def test_taking_back_can_need_two_people_too() -> None:
    """It ends the order when the second has signed."""
    by = rules(ApprovalRule(("undrain:*",)))
    back = signed(order("undrain", "azure/eastus2", id="u"))
    log = read(DRAIN, back, by=by)
    assert (len(log.orders), len(log.pending)) == (1, 1)
    log = read(countersigned(back), log=log, by=by)
    assert (log.orders, log.pending) == ((), ())


def test_pending_orders_have_a_limit() -> None:
    """The one that is too many is refused."""
    log = read(*(signed(order(id=f"d{number}")) for number in range(PENDING_MAX + 1)))
    assert len(log.pending) == PENDING_MAX
    assert "wait for another person already" in log.refused


def test_the_next_reader_knows_what_waits() -> None:
    """A publication holds pending orders, and a reader that begins there goes on with them; the same id is
    not given twice meanwhile."""
    taken = read(DRAIN).taken(NOW_MS)
    record = RoutesRecord(
        Generation("one", 1, 1),
        NOW_MS,
        commands_next_offset=taken.next_offset,
        pending=taken.pending,
    )
    later = CommandLog.after(record, rules=RULES)
    assert [item.id for item in read(countersigned(DRAIN), log=later).orders] == ["a"]
    assert "was given before" in read(DRAIN, log=later).refused


def test_a_countersignature_must_be_fresh_like_any_order() -> None:
    """An old one is not used for a new order."""
    old = countersigned(DRAIN, at_ms=NOW_MS - ISSUED_WITHIN_MS - 1)
    assert "after it was signed" in read(DRAIN, old).refused


def test_a_policy_change_waits_for_a_second_person_too() -> None:
    """Otherwise one person could do away with the rule. It counts from the last signature, at its place in
    the log."""
    approvals = (ApprovalRule(("policy:*",)),)
    people = tuple(replace(item, may=("*",)) for item in signed_policy().operators)
    before = first_policy(replace(signed_policy(), operators=people, approvals=approvals), unsigned=False)
    by = OrderRules.of(before.policy, unsigned=False, namespace=NAMESPACE)
    changed = sign_order(
        change(before, approvals=()), KEYS["kim"], namespace=NAMESPACE, lineage=before.policy.lineage
    )
    waiting = read(changed, by=by)
    assert (waiting.refused, waiting.changes, waiting.answered_offset) == ("", (), 1)
    assert [item.order for item in waiting.waiting(NOW_MS)] == [changed]
    assert waiting.waiting(NOW_MS + PENDING_MAX_MS) == ()
    assert "has signed p already" in read(agreed(changed, "kim"), log=waiting, by=by).refused
    log = read(agreed(changed, "lee"), log=waiting, by=by)
    assert (log.refused, log.pending) == ("", ())
    assert [(item.offset, item.change) for item in log.changes] == [(1, changed)]
    after = policy_after(before, log.changes).policy
    assert (after.number, after.policy.approvals) == (1, ())


def agreed(changed: PolicyChange, actor: str) -> Command:
    """This operator's agreement to a policy change."""
    agreement = order("countersign", "*", actor, f"by-{actor}")
    return signed(replace(agreement, countersigns=f"{changed.id}#{fingerprint(changed.signature)}"))
