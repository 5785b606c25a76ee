"""What must be agreed to before an order is sent, and how."""

import asyncio

import pytest

from controller.cli.agreement import Consent, is_agreed, pending_rules
from controller.core.inspect.consequences import BurstChange, Consequences, Objection

NOTHING = dict.fromkeys(("critical_plus", "critical", "sheddable_plus", "sheddable"), 0.0)


def change(*rules: str) -> Consequences:
    """One that these rules forbid."""
    return Consequences(
        load_unit="tokens",
        offered=100.0,
        moved_units_per_s=0.0,
        due_before=0.0,
        due_after=0.0,
        workloads=(),
        pools=(),
        shed_before=NOTHING,
        shed_after=NOTHING,
        burst=BurstChange(0.0, 0.0, 0.0, money_per_hour_after=0.0),
        objections=tuple(Objection(rule, f"{rule} is broken") for rule in rules),
    )


def agreed(item: Consequences | None, consent: Consent, *, may_shed: bool = True) -> bool:
    """Without a terminal, so that no question can be asked."""
    return asyncio.run(is_agreed("drain oci", item, consent, may_shed=may_shed))


def test_what_a_rule_protects_is_agreed_to_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`--yes` and another rule's name are not enough, and what is missing is named."""
    item = change("last_pool", "critical_shed")
    assert not agreed(item, Consent(yes=True, forced=frozenset({"last_pool"})))
    said = capsys.readouterr().err
    assert "drain oci: critical_shed is broken\n" in said
    assert "nothing was sent: add --force critical_shed to do it" in said
    assert agreed(item, Consent(forced=frozenset({"last_pool", "critical_shed"})))


def test_what_nobody_knows_is_agreed_to_by_yes(capsys: pytest.CaptureFixture[str]) -> None:
    """Only of an order that may shed load."""
    assert not agreed(None, Consent(forced=frozenset({"critical_shed"})))
    assert "add --yes to do it" in capsys.readouterr().err
    assert agreed(None, Consent(yes=True))
    assert agreed(None, Consent(), may_shed=False)


def test_what_nothing_forbids_is_sent_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """No question, and the operator reads what it changes."""
    assert agreed(change(), Consent())
    assert "it moves nothing at once" in capsys.readouterr().err


def test_rules_are_asked_for_in_the_order_of_the_list() -> None:
    """However often each is broken."""
    item = change("no_n_minus_1", "critical_shed", "critical_shed")
    assert pending_rules(item, Consent()) == ("critical_shed", "no_n_minus_1")
