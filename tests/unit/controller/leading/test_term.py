"""When a leader publishes for the sake of orders, and what it says of them."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from controller.commands.policies import PolicyTaken, first_policy
from controller.core.model.memory import Memory
from controller.core.snapshot import Ready
from controller.leading.term import MEMORY_EVERY_MS, REJECTIONS_EVERY_MS, RUBBISH_UNRECORDED_MAX, Term
from controller.routes.record import LoggedChange, OrderAnswer, OrdersTaken, RoutesRecord
from tests.unit.controller.commands.changes import POLICY, change
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split
from tieline.topics import ROUTES_RECORD_MAX_BYTES

TABLE = RouteTable(
    Generation("one", 1, 3),
    0,
    (PoolInfo("a/r/d", "eu", "https://a.example/v1"),),
    routes=(Route("chat", "eu", "critical", split=Split((0,), (1_000_000,))),),
)
NOTHING_NEW = Ready(memory=Memory(), table=None, decisions=(), memory_changed=False)


def term(*, settled: bool = True) -> Term:
    """Published everything before offset 5 of the command log a moment ago."""
    record = RoutesRecord(Generation("one", 1, 3), 0, commands_next_offset=5)
    return Term(
        1,
        0,
        {},
        record=record,
        memory=Memory(),
        policy=first_policy(POLICY, unsigned=True),
        published_steady_ms=MEMORY_EVERY_MS * 9,
        settled=settled,
    )


def owes(next_offset: int, answered_offset: int, *, settled: bool = True) -> bool:
    taken = OrdersTaken(next_offset, answered_offset)
    return term(settled=settled).owes(NOTHING_NEW, taken, MEMORY_EVERY_MS * 9)


def test_each_order_is_published_and_rubbish_only_now_and_then() -> None:
    """Whoever gave an order waits for it; much rubbish is recorded as read, so that nobody reads it again."""
    assert not owes(5, 5)
    assert owes(6, 6)
    assert not owes(5 + RUBBISH_UNRECORDED_MAX, 5)
    assert owes(6 + RUBBISH_UNRECORDED_MAX, 5)
    assert not owes(6 + RUBBISH_UNRECORDED_MAX, 6, settled=False)


def test_a_publication_that_answers_an_order_is_urgent_for_clients() -> None:
    """Then they fetch it without a random wait, and report at once that they use it: whoever gave the order
    may wait for that. A publication for any other reason is as urgent as its step."""
    leader, policy = term(), PolicyTaken(first_policy(POLICY, unsigned=True), ())
    leader.record = replace(leader.record, table=TABLE, urgent_seq=2)
    after = leader.next_record(NOTHING_NEW, policy, OrdersTaken(6, 6), 1)
    assert (after.generation.seq, after.urgent_seq) == (4, 4)
    assert leader.next_record(NOTHING_NEW, policy, OrdersTaken(6, 5), 1).urgent_seq == 2
    unsettled = term(settled=False)
    unsettled.record = leader.record
    assert unsettled.next_record(NOTHING_NEW, policy, OrdersTaken(6, 6), 1).urgent_seq == 2


def test_orders_that_nobody_may_give_are_answered_twice_a_second_at_most() -> None:
    """However many there are; what was answered is not answered again."""
    taken = OrdersTaken(6, 5, rejected_offset=6)
    published_ms = MEMORY_EVERY_MS * 9
    assert not term().owes(NOTHING_NEW, taken, published_ms + REJECTIONS_EVERY_MS - 1)
    assert term().owes(NOTHING_NEW, taken, published_ms + REJECTIONS_EVERY_MS)
    assert term().rejections_due_ms(taken) == published_ms + REJECTIONS_EVERY_MS
    assert not term().owes(NOTHING_NEW, OrdersTaken(6, 5, rejected_offset=5), published_ms * 2)
    assert not term(settled=False).owes(NOTHING_NEW, taken, published_ms * 2)


def test_a_command_log_that_was_created_anew_is_published_from_its_first_order() -> None:
    """Its offsets begin anew, so they are not compared with those of the log before it."""
    leader = term()
    leader.record = replace(leader.record, commands_topic_id="id-1", answers=(OrderAnswer("a", 1),))
    same, other = (
        OrdersTaken(2, 2, topic_id, answers=(OrderAnswer("b", 2),)) for topic_id in ("id-1", "id-2")
    )
    assert not leader.owes(NOTHING_NEW, same, MEMORY_EVERY_MS * 9)
    assert leader.owes(NOTHING_NEW, other, MEMORY_EVERY_MS * 9)


def test_a_policy_change_is_taken_in_with_the_orders_before_it() -> None:
    """Not before anything is decided, and no change that the last publication took in."""
    first = first_policy(POLICY, unsigned=True)
    changed = change(first, headroom=0.5)
    taken = OrdersTaken(8, 8, changes=(LoggedChange(7, 1, changed),))
    after = term().policy_with(taken)
    assert (after.policy.number, after.policy.policy.headroom) == (1, 0.5)
    assert [(answer.id, answer.refused) for answer in after.answers] == [(changed.id, "")]
    assert term(settled=False).policy_with(taken) == (first, ())
    before = OrdersTaken(8, 8, changes=(LoggedChange(4, 1, changed),))
    assert term().policy_with(before) == (first, ())


def test_a_policy_with_which_no_publication_can_be_sent_is_refused() -> None:
    """The leader goes on with the policy before, and says so to whoever sent the other one."""
    changed = change(first_policy(POLICY, unsigned=True), headroom=0.5)
    taken = OrdersTaken(8, 8, changes=(LoggedChange(7, 1, changed),))
    leader = term()
    after = leader.policy_with(taken)
    small = RoutesRecord(Generation("one", 1, 4), 0)
    assert not leader.refuses(small, after)
    large = replace(small, policy=Random(1).randbytes(ROUTES_RECORD_MAX_BYTES))  # which can't be compressed
    assert not leader.refuses(large, PolicyTaken(leader.policy, ()))
    assert leader.refuses(large, after)
    again = leader.policy_with(taken)
    assert again.policy is leader.policy
    assert "more than 8 MiB" in again.answers[0].refused
