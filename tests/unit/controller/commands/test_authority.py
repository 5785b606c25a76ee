"""Whose orders count: signatures, actors, rights, freshness and installations."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.commands.authority import ISSUED_WITHIN_MS, OVERRIDE_MAX_MS, OrderRules
from controller.commands.log import REPEATABLE_MS, CommandLog
from controller.commands.policies import first_policy
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tests.unit.controller.commands.changes import change
from tests.unit.controller.operating import KEYS, NOW_MS, STRANGER, order, rules, signed, signed_policy
from tieline.events import Command
from tieline.order_signing import sign_order

RULES = rules()


def read(*commands: Command, at_ms: int = NOW_MS, log: CommandLog | None = None) -> CommandLog:
    log = log or CommandLog()
    for command in commands:
        log = log.apply(log.next_offset, at_ms, command, rules=RULES)
    return log


@pytest.mark.parametrize(
    "command",
    [
        order(),
        order("drain", "azure/eastus2", "lee"),
        order("drain", "gcp", "lee"),
        order("undrain", "azure/eastus2", "lee"),
        order("freeze", "*"),
    ],
    ids=lambda command: f"{command.actor}-{command.verb}-{command.scope}",
)
def test_an_order_that_its_operator_may_give_counts(command: Command) -> None:
    """With a right that covers it, also for taking back what one may order."""
    assert read(signed(command)).refused == ""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (order(), "it is unsigned, and the policy names operators"),
        (replace(order(), signature="yes"), "not written as ed25519:KEY:SIGNATURE"),
        (signed(order(), STRANGER), "which is none of kim's"),
        (signed(order(actor="lee"), KEYS["kim"]), "which is none of lee's"),
        (replace(signed(order()), actor="eve"), "names no operator 'eve'"),
        (replace(signed(order()), actor="lee"), "which is none of lee's"),
        (replace(signed(order()), scope="gcp"), "the signature is not by kim's key, or not for this order"),
        (replace(signed(order()), reason="else"), "not for this order"),
        (signed(order(), lineage="staging-1"), "another installation than tieline"),
        (signed(order(), namespace="staging"), "another installation than tieline"),
        (signed(order("drain", "azure", "lee")), "lee may not give drain:azure: the policy allows drain:az"),
        (signed(order("freeze", "*", "lee")), "lee may not give freeze"),
        (signed(order("undrain", "oci", "lee")), "lee may not give undrain:oci"),
        (signed(replace(order(), expires_ms=NOW_MS)), "it had expired before"),
        (signed(replace(order(), expires_ms=NOW_MS + OVERRIDE_MAX_MS + 1)), "30 days"),
        (signed(replace(order(), expires_ms=None)), "drain needs expires_ms"),
        (signed(order(at_ms=NOW_MS - ISSUED_WITHIN_MS - 1)), "appended 60 s after it was signed"),
        (signed(order(at_ms=NOW_MS + ISSUED_WITHIN_MS + 1)), "appended 60 s before it was signed"),
    ],
)
def test_an_order_that_nobody_may_give_changes_nothing_and_says_why(command: Command, why: str) -> None:
    """It is answered by its id, with who and why, among the rejections."""
    log = read(command)
    assert (log.orders, log.pending, log.answers, log.answered_offset) == ((), (), (), 0)
    (answer,) = log.rejections
    assert (answer.id, answer.actor, log.rejected_offset) == (command.id, command.actor, 1)
    assert why in answer.refused


@pytest.mark.parametrize(
    ("actor", "key", "why"),
    [("kim", "kim", ""), ("lee", "lee", "lee may not give policy:*"), ("kim", "lee", "none of kim's")],
)
def test_a_policy_change_is_an_order_too(actor: str, key: str, why: str) -> None:
    """It needs the right policy:*, and a signature."""
    first = first_policy(signed_policy(), unsigned=True)
    changed = replace(change(first, headroom=0.7), actor=actor)
    place = {"namespace": "tieline", "lineage": "multicloud-1"}
    log = CommandLog().apply(0, NOW_MS, sign_order(changed, KEYS[key], **place), rules=RULES)
    assert (log.refused if why else "") == log.refused
    assert why in log.refused
    assert len(log.changes) == (0 if why else 1)
    assert "unsigned" in CommandLog().apply(0, NOW_MS, changed, rules=RULES).refused


def test_a_copy_of_an_order_never_counts() -> None:
    """At once because its id is remembered, and later because it is too old; also after it was taken back."""
    drain = signed(order())
    log = read(drain, signed(order("undrain", id="u")))
    assert "an order with this id was given before" in read(drain, log=log).refused
    assert read(drain, log=log).orders == ()
    later = read(signed(order(id="x", at_ms=NOW_MS + REPEATABLE_MS)), at_ms=NOW_MS + REPEATABLE_MS, log=log)
    copied = read(drain, at_ms=NOW_MS + REPEATABLE_MS, log=later)
    assert "an old order once more" in copied.refused or "id was given before" in copied.refused
    assert [item.id for item in copied.orders] == ["x"]


def test_a_rejected_id_does_not_stand_in_the_way_of_the_true_order() -> None:
    """Whoever guesses an id can't have the order with it refused."""
    log = read(signed(order(), STRANGER), signed(order()))
    assert [item.id for item in log.orders] == ["a"]
    assert [answer.refused for answer in log.answers] == [""]


def test_the_development_mode_ends_where_a_policy_names_operators() -> None:
    """Asked for together with operators it is not given; without them it is."""
    assert not RULES.unsigned_allowed
    policy = load_policy(EXAMPLE_POLICY)
    assert OrderRules.of(policy, unsigned=True, namespace="tieline").unsigned_allowed
    strict = OrderRules.of(policy, unsigned=False, namespace="tieline")
    assert "only the unsigned development mode" in strict.refusal(order(), NOW_MS)
    assert "names no operators and so no keys" in strict.refusal(signed(order()), NOW_MS)


def test_an_accepted_order_outlives_its_operator_and_an_unsigned_one_does_not_outlive_its_mode() -> None:
    """What a publication holds was accepted at its place in the log. Only an unsigned order ends where orders
    must be signed."""
    without_kim = rules(leave_out=("kim",))
    assert without_kim.keeps(signed(order()))
    assert not without_kim.keeps(order())
    assert not without_kim.keeps(replace(signed(order()), expires_ms=None))
    unsigned = CommandLog().apply(0, NOW_MS, order(), rules=OrderRules(unsigned_allowed=True))
    assert unsigned.under(RULES).orders == ()
    accepted = read(signed(order()))
    assert accepted.under(without_kim) is accepted
