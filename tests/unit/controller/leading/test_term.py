"""When a leader publishes for the sake of orders, and what it says of them."""

from __future__ import annotations

from msgspec.structs import replace

from controller.core.model.memory import Memory
from controller.core.snapshot import Ready
from controller.leading.term import MEMORY_EVERY_MS, RUBBISH_UNRECORDED_MAX, Term
from controller.routes.record import OrderAnswer, OrdersTaken, RoutesRecord
from tieline.table import Generation

NOTHING_NEW = Ready(memory=Memory(), table=None, decisions=(), memory_changed=False)


def term(*, settled: bool = True) -> Term:
    """Published everything before offset 5 of the command log a moment ago."""
    record = RoutesRecord(Generation("one", 1, 3), 0, commands_next_offset=5)
    return Term(
        1, 0, {}, record=record, memory=Memory(), published_steady_ms=MEMORY_EVERY_MS * 9, settled=settled
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


def test_a_command_log_that_was_created_anew_is_published_from_its_first_order() -> None:
    """Its offsets begin anew, so they are not compared with those of the log before it."""
    leader = term()
    leader.record = replace(leader.record, commands_topic_id="id-1", answers=(OrderAnswer("a", 1),))
    same, other = (
        OrdersTaken(2, 2, topic_id, answers=(OrderAnswer("b", 2),)) for topic_id in ("id-1", "id-2")
    )
    assert not leader.owes(NOTHING_NEW, same, MEMORY_EVERY_MS * 9)
    assert leader.owes(NOTHING_NEW, other, MEMORY_EVERY_MS * 9)
