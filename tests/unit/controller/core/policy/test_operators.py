"""Who may give which orders, which need more people, and which mistakes a policy's operators can have."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.core.policy.check import faults
from controller.core.policy.operators import ApprovalRule, Operator, approvals_needed, covers, touches
from controller.core.policy.policy import Policy, decode_policy, encode_policy, version_of
from controller.policy_file import load_policy, parse_policy
from tests.places import EXAMPLE_POLICY
from tests.unit.controller.operating import public_line, signed_policy
from tieline.registration import registry_in

EXAMPLE = load_policy(EXAMPLE_POLICY)
KIM, LEE = public_line("kim"), public_line("lee")


@pytest.mark.parametrize(
    ("right", "verb", "scope", "is_covered", "is_touched"),
    [
        ("*", "freeze", "*", True, True),
        ("drain:*", "drain", "azure", True, True),
        ("drain:*", "freeze", "azure", False, False),
        ("*:azure", "freeze", "azure/eastus2", True, True),
        ("drain:azure", "drain", "azure", True, True),
        ("drain:azure", "drain", "azure/eastus2/gpt-4o", True, True),
        ("drain:azure", "drain", "azure2", False, False),
        ("drain:azure/*", "drain", "azure/eastus2", True, True),
        ("drain:azure/*", "drain", "azure", False, True),
        ("drain:azure/eastus2", "drain", "azure", False, True),
        ("drain:azure/eastus2/*", "drain", "azure/eastus2", False, True),
        ("drain:azure/eastus2", "drain", "azure/westus3", False, False),
        ("freeze:azure", "freeze", "*", False, True),
    ],
)
def test_what_a_right_covers_and_what_an_order_touches(
    right: str, verb: str, scope: str, is_covered: bool, is_touched: bool
) -> None:
    """``azure/*`` is what lies in azure; a wider order touches what lies in it, and is not covered by it."""
    assert covers(right, verb, scope) is is_covered
    assert touches(right, verb, scope) is is_touched


def test_who_may_give_an_order_may_take_it_back() -> None:
    """And nothing else of that kind."""
    operator = Operator("kim", (KIM,), ("drain:azure",))
    assert operator.is_allowed("undrain", "azure/eastus2")
    assert not operator.is_allowed("undrain", "gcp")
    assert not operator.is_allowed("restore", "azure")


def test_the_strictest_rule_counts() -> None:
    """Of all that an order touches; 1 where none does."""
    rules = (ApprovalRule(("drain:*",)), ApprovalRule(("*:azure/eastus2",), approvals=3))
    assert approvals_needed(rules, "drain", "gcp") == 2
    assert approvals_needed(rules, "drain", "azure") == 3
    assert approvals_needed(rules, "freeze", "gcp") == 1


def mistakes(*operators: Operator, approvals: tuple[ApprovalRule, ...] = ()) -> list[str]:
    policy = replace(EXAMPLE, operators=operators, approvals=approvals)
    return [f"{'.'.join(map(str, fault.path))}: {fault.text}" for fault in faults(policy)]


def test_the_keys_of_sources_are_checked_too() -> None:
    """A source may be bound to keys, which are written as those of operators. Without any the encoding of the
    policy, and so its version, is what it was before there were such keys."""
    source = replace(EXAMPLE.sources[0], public_keys=("kim",))
    policy = replace(EXAMPLE, sources=(source, *EXAMPLE.sources[1:]))
    texts = [f"{'.'.join(map(str, fault.path))}: {fault.text}" for fault in faults(policy)]
    assert [text for text in texts if text.startswith("sources.0.public_keys.0: it is not an Ed25519")]
    good = replace(policy, sources=(replace(source, public_keys=(KIM,)), *EXAMPLE.sources[1:]))
    assert list(faults(good)) == list(faults(EXAMPLE))
    assert b"public_keys" not in encode_policy(EXAMPLE)
    assert registry_in(encode_policy(good)).sources[source.id].public_keys == (KIM,)


@pytest.mark.parametrize(
    ("operators", "approvals", "why"),
    [
        (
            [Operator("kim", ("kim",), ("*",))],
            (),
            "operators.0.public_keys.0: it is not an Ed25519 public key",
        ),
        (
            [Operator("kim", (KIM,), ("*",)), Operator("kim", (LEE,), ("*",))],
            (),
            "operators.1.id: kim is already operators[0]",
        ),
        (
            [Operator("kim", (KIM,), ("*",)), Operator("lee", (LEE, KIM), ("*",))],
            (),
            "operators.1.public_keys.1: this key is kim's already",
        ),
        (
            [Operator("kim", (KIM,), ("dran:azure",))],
            (),
            "operators.0.may.0: there is no order 'dran'; did you mean drain?",
        ),
        (
            [Operator("kim", (KIM,), ("*", "drain:azzure/*"))],
            (),
            "operators.0.may.1: there is nothing named 'azzure'; did you mean azure?",
        ),
        ([Operator("kim", (KIM,), ("countersign:*",))], (), "there is no order 'countersign'"),
        ([], (ApprovalRule(("drain:*",)),), "approvals.0.orders.0: nobody could approve it"),
        (
            [Operator("kim", (KIM,), ("*",)), Operator("lee", (LEE,), ("drain:gcp",))],
            (ApprovalRule(("freeze:*", "drain:*")),),
            "approvals.0.orders.0: only kim may give freeze:*, and it needs 2 people",
        ),
        (
            [Operator("kim", (KIM,), ("*",)), Operator("lee", (LEE,), ("drain:gcp",))],
            (ApprovalRule(("drain:azure/*",)),),
            "only kim may give drain:",
        ),
        (
            [Operator("kim", (KIM,), ("*",))],
            (ApprovalRule(("drain:marz",)),),
            "approvals.0.orders.0: there is nothing named 'marz'",
        ),
    ],
)
def test_each_mistake_has_its_place_and_remedy(
    operators: list[Operator], approvals: tuple[ApprovalRule, ...], why: str
) -> None:
    """Bad keys, names that refer to nothing, and rules that too few people can satisfy."""
    texts = mistakes(*operators, approvals=approvals)
    assert any(why in text for text in texts), texts


def test_a_good_policy_has_no_mistake() -> None:
    """Operators with different rights, and a rule that two of them can satisfy."""
    policy = signed_policy(ApprovalRule(("drain:azure/*",)))
    assert faults(policy) == []


def test_operators_are_read_from_a_file() -> None:
    """As docs/operating.md shows them; a mistake names its line."""
    text = EXAMPLE_POLICY.read_text()
    lines = f'operators:\n  - {{id: kim@example.com, public_keys: [{KIM}], may: ["drain:azure/*", "*"]}}\n'
    policy = parse_policy(text + lines)
    assert policy.operators[0].may == ("drain:azure/*", "*")
    with pytest.raises(ValueError, match=r"policy.yaml:\d+: operators\[0\].may\[0\]: expected VERB:SCOPE"):
        parse_policy(text + lines.replace('"drain:azure/*"', '"drain azure"'))


def test_a_policy_without_operators_has_the_version_that_it_always_had() -> None:
    """Fields that have their defaults leave no trace in the encoding, however many there are."""
    packed = encode_policy(EXAMPLE)
    assert b"operators" not in packed
    assert packed[0] & 0xF0 == 0x80, "a map of fewer than 16 fields has the short form"
    assert decode_policy(packed) == EXAMPLE
    more: Policy = signed_policy(ApprovalRule(("drain:azure/*",)))
    assert decode_policy(encode_policy(more)) == more
    assert version_of(more) != version_of(EXAMPLE)
