"""Which policy is in force after policy changes, and why a change is refused."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from msgspec.structs import replace

from controller.commands.authority import OrderRules
from controller.commands.log import CHANGES_WAITING_MAX, CommandLog
from controller.commands.policies import (
    POLICY_BYTES_MAX,
    PolicyInForce,
    compressed,
    first_policy,
    policy_after,
    published_policy,
)
from controller.core.policy.operators import Operator
from controller.core.policy.policy import Workload, encode_policy
from controller.routes.record import LoggedChange, RoutesRecord
from tests.unit.controller.commands.changes import NOW_MS, POLICY, change, change_to
from tests.unit.controller.operating import public_line
from tieline.events import PolicyChange
from tieline.table import ClientSettings, Generation, checksum

FIRST = first_policy(POLICY, unsigned=True)
UNSIGNED = OrderRules(unsigned_allowed=True)


def after(*changes: PolicyChange, before: PolicyInForce = FIRST) -> PolicyInForce:
    """The policy that these leave in force; all but the last must be accepted."""
    taken = policy_after(before, [LoggedChange(n, NOW_MS + n, item) for n, item in enumerate(changes)])
    assert [answer.refused for answer in taken.answers[:-1]] == [""] * (len(changes) - 1)
    return taken.policy


def refusal(changed: PolicyChange, before: PolicyInForce = FIRST) -> str:
    """Why it is refused; it must change nothing."""
    taken = policy_after(before, [LoggedChange(3, NOW_MS, changed)])
    assert taken.policy is before
    answer = taken.answers[0]
    assert (answer.id, answer.append_ms) == (changed.id, NOW_MS)
    return answer.refused


def test_each_change_follows_the_one_before_it() -> None:
    """The number rises by one, and the bytes of the policy are those that lay in the change."""
    second = after(change(FIRST, headroom=0.7))
    third = after(change(second, headroom=0.6), before=second)
    assert (second.number, third.number) == (1, 2)
    assert third.policy.headroom == 0.6
    assert third.packed == encode_policy(third.policy)
    assert third.version == checksum(third.packed)


def test_of_two_changes_of_one_parent_the_first_wins() -> None:
    """The other is told which policy it followed and which is in force. A right number is not enough."""
    second = after(change(FIRST, headroom=0.7))
    why = refusal(change(FIRST, headroom=0.6), second)
    followed, in_force = f"policy 0 ({FIRST.version[:8]})", f"policy 1 ({second.version[:8]})"
    assert f"it follows {followed}, and {in_force} is in force" in why
    orphan = replace(change(second), parent="0" * 32)
    assert "it follows policy 1 (00000000)" in refusal(orphan, second)


def test_a_change_that_went_back_is_no_parent_again() -> None:
    """After a rollback the first policy's content is in force, under another number."""
    second = after(change(FIRST, headroom=0.7))
    third = after(change_to(second, POLICY), before=second)
    assert (third.version, third.number) == (FIRST.version, 2)
    assert "policy 2" in refusal(change(FIRST, headroom=0.6), third)


def test_the_change_that_is_in_force_is_accepted_again_and_changes_nothing() -> None:
    """Two operators who apply the same file at once both hear that it is in force."""
    changed = change(FIRST, headroom=0.7)
    second = after(changed)
    assert refusal(replace(changed, id="q"), second) == ""


def test_unsigned_changes_count_in_the_development_mode_only() -> None:
    """Elsewhere they never get as far as the policy; they are answered by their id."""
    strict = CommandLog().apply(0, NOW_MS, change(FIRST), rules=OrderRules(unsigned_allowed=False))
    assert strict.changes == ()
    assert [(answer.id, "unsigned" in answer.refused) for answer in strict.rejections] == [("p", True)]
    assert len(CommandLog().apply(0, NOW_MS, change(FIRST), rules=UNSIGNED).changes) == 1


def test_operators_end_the_development_mode() -> None:
    """A policy that names operators takes no unsigned order, whatever the process was asked for."""
    operators = (Operator("kim", (public_line("kim"),), ("*",)),)
    after_it = after(change(FIRST, operators=operators))
    assert FIRST.takes_unsigned
    assert not after_it.takes_unsigned


def test_policies_that_cannot_be_read_are_refused() -> None:
    """Other bytes than the digest's, no zlib, more than the limit, or no policy."""
    good = change(FIRST, headroom=0.7)
    assert "version it names" in refusal(replace(good, version="0" * 32))
    assert "can't be expanded" in refusal(replace(good, policy=b"no zlib"))
    assert "is cut off" in refusal(replace(good, policy=good.policy[:-5]))
    assert "bring along the policy that it follows" in refusal(replace(good, parent_policy=good.policy))
    bomb = zlib.compress(bytes(POLICY_BYTES_MAX + 1))
    assert f"more than {POLICY_BYTES_MAX} bytes" in refusal(replace(good, policy=bomb))
    for packed, why in (
        (b"\x80", "can't be read"),
        (encode_policy(POLICY).replace(b"\xa7lineage", b"\xa7Lineage"), "can't be read"),
    ):
        other = replace(good, policy=compressed(packed), version=checksum(packed))
        assert why in refusal(other)


def test_a_field_that_this_version_does_not_know_is_not_ignored() -> None:
    """A rule of a newer version would silently be dropped."""
    packed = bytearray(encode_policy(POLICY))
    assert packed[0] & 0xF0 == 0x80
    packed[0] += 1
    packed += b"\xa5newer\xc3"
    good = change(FIRST, headroom=0.7)
    newer = replace(good, policy=compressed(bytes(packed)), version=checksum(bytes(packed)))
    assert "another version of Tieline" in refusal(newer)


def test_a_policy_that_contradicts_itself_is_refused_with_its_places() -> None:
    """Here a workload loses the only provider that may serve it."""
    workloads = tuple(
        replace(workload, exclusive_provider="oci", allowed_providers=("azure",))
        for workload in POLICY.workloads
    )
    why = refusal(change(FIRST, workloads=workloads))
    assert "its policy contradicts itself: workloads.0: no pool may serve" in why
    assert "and 8 more" in why
    assert isinstance(workloads[0], Workload)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("lineage", {"lineage": "other"}),
        ("clients.load_unit", {"clients": ClientSettings(load_unit="requests")}),
    ],
)
def test_what_figures_mean_cannot_change_at_run_time(field: str, fields: dict[str, Any]) -> None:
    """The sentence names the field, both values and the remedy."""
    why = refusal(change(FIRST, **fields))
    assert why.startswith(f"{field} can't change from ")
    assert "while controllers run: " in why


def test_the_log_keeps_changes_until_a_publication_took_them_in() -> None:
    """In their order, each id once, and no more than the limit."""
    log = CommandLog()
    for number in range(CHANGES_WAITING_MAX):
        log = log.apply(number, NOW_MS, change(FIRST, id=f"p{number}"), rules=UNSIGNED)
    log = log.apply(log.next_offset, NOW_MS, change(FIRST, id="p3"), rules=UNSIGNED)
    assert [logged.change.id for logged in log.changes] == [f"p{n}" for n in range(CHANGES_WAITING_MAX)]
    full = log.apply(log.next_offset, NOW_MS, change(FIRST, id="more"), rules=UNSIGNED)
    assert "policy changes wait already" in full.refused
    assert [answer.id for answer in full.rejections] == ["more"]
    assert [logged.offset for logged in log.without_changes(18).changes] == [18, 19]
    assert log.taken(NOW_MS).changes == log.changes


def test_a_publication_names_the_policy_in_force() -> None:
    """Who begins there has the same policy, under the same number."""
    second = after(change(FIRST, headroom=0.7))
    record = RoutesRecord(
        Generation("one", 1, 1),
        NOW_MS,
        policy=second.packed,
        policy_version=second.version,
        policy_number=second.number,
    )
    assert published_policy(record, unsigned=True) == second


def test_somebody_must_be_able_to_change_the_policy_again() -> None:
    """Operators without that right, or none any more where they had to sign, would lock everybody out."""
    kim = Operator("kim", (public_line("kim"),), ("policy:*",))
    lee = Operator("lee", (public_line("lee"),), ("drain:*",))
    signed = first_policy(replace(POLICY, operators=(kim,)), unsigned=False)
    for before, operators in ((FIRST, (lee,)), (signed, (lee,)), (signed, ())):
        assert "nobody could change the policy again" in refusal(change(before, operators=operators), before)
    assert after(change(FIRST, operators=(kim,))).number == 1
    everything = replace(kim, may=("*",))
    assert after(change(signed, operators=(lee, everything)), before=signed).number == 1
