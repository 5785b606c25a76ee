"""Which orders are in force."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from controller.commands.authority import OVERRIDE_MAX_MS, OrderRules
from controller.commands.log import ANSWERS_KEPT_MAX, ORDERS_MAX, RECENT_MAX, REPEATABLE_MS, CommandLog
from controller.core.orders.overridable import NEVER, OVERRIDABLE
from controller.routes.record import RoutesRecord
from tieline.events import OF_A_WORKLOAD, OF_AN_OFFER, TAKES_BACK, WITHOUT_END, Command, Verb
from tieline.offers import OfferedCapacity
from tieline.table import Generation

NOW_MS = 1_800_000_000_000
UNSIGNED = OrderRules(unsigned_allowed=True)
STRICT = OrderRules(unsigned_allowed=False)


def order(verb: Verb = "drain", scope: str = "azure/eu", id: str = "a", for_ms: int = 60_000) -> Command:
    """A whole one: an override names a guard, a verdict a state, a pin a workload and a whole pool."""
    places = {
        **dict.fromkeys(("pin", "unpin", "failover", "accept"), "azure/eu/gpt"),
        **dict.fromkeys(("mode", "decline"), "azure"),
    }
    return Command(
        id,
        verb,
        places.get(verb, scope),
        "op",
        "why",
        NOW_MS,
        NOW_MS + for_ms,
        guard="fresh_capacity" if verb in ("override", "restore") else "",
        state="healthy" if verb == "verdict" else "",
        workload="chat" if verb in OF_A_WORKLOAD else "",
        mode="observe" if verb == "mode" else "",
        offer="eu-1" if verb in OF_AN_OFFER else "",
        offered=OfferedCapacity("azure/eu/gpt", 5.0) if verb == "accept" else None,
    )


def back(verb: Verb = "undrain", scope: str = "azure/eu", id: str = "u") -> Command:
    """What takes an order back."""
    return replace(order(verb, scope, id), expires_ms=None)


def read(*commands: Command | None, unsigned: bool = True) -> CommandLog:
    log = CommandLog()
    for offset, command in enumerate(commands):
        log = log.apply(offset, NOW_MS, command, rules=UNSIGNED if unsigned else STRICT)
    return log


def ids(log: CommandLog, at_ms: int = NOW_MS) -> list[str]:
    return [command.id for command in log.in_force(at_ms)]


LASTING = [verb for verb in get_args(Verb) if verb not in WITHOUT_END]
PAIRS = [(back, verb) for back, verbs in TAKES_BACK.items() for verb in verbs]


@pytest.mark.parametrize("verb", LASTING)
def test_order_holds_until_it_expires(verb: Verb) -> None:
    """To the millisecond, with nobody having to do anything; and it is known when that will be."""
    log = read(order(verb))
    assert ids(log, NOW_MS + 59_999) == ["a"]
    assert ids(log, NOW_MS + 60_000) == []
    assert log.next_expiry_ms(NOW_MS) == NOW_MS + 60_000
    assert log.next_expiry_ms(NOW_MS + 60_000) is None


@pytest.mark.parametrize(("counterpart", "verb"), [pair for pair in PAIRS if pair[0] != "unpin"])
def test_each_order_is_taken_back_by_its_counterpart_alone(counterpart: Verb, verb: Verb) -> None:
    """Every order of its kind and of exactly its scope, and neither a wider nor a narrower one."""
    wider, narrower = order(verb, "azure", "w"), order(verb, "azure/eu/gpt", "n")
    other = order("freeze" if verb != "freeze" else "drain", id="o")
    given = (order(verb), order(verb, id="b"), wider, narrower, other)
    assert sorted(ids(read(*given, back(counterpart)))) == ["n", "o", "w"]


@pytest.mark.parametrize("verb", ["pin", "failover"])
def test_a_workload_is_unpinned_from_exactly_its_pool(verb: Verb) -> None:
    """Pins to other pools and of other workloads stay."""
    other = replace(order("pin", id="p"), scope="oci/uk/gpt")
    others = replace(order("pin", id="w"), workload="batch")
    assert ids(read(order(verb), other, others, back("unpin"))) == ["w", "p"]


def test_a_new_failover_takes_the_place_of_the_old() -> None:
    """Of the same workload, whatever pool it goes to; pins add up."""
    elsewhere = replace(order("failover", id="b"), scope="oci/uk/gpt")
    others = replace(order("failover", id="o"), workload="batch")
    assert ids(read(order("failover"), others, elsewhere)) == ["o", "b"]
    assert ids(read(order("pin"), replace(elsewhere, verb="pin"))) == ["a", "b"]


def test_a_mode_ends_with_the_next_of_its_provider() -> None:
    """`policy` ends it, and is no order that lasts."""
    acts = replace(order("mode", id="b"), mode="act")
    assert ids(read(order("mode"), acts)) == ["b"]
    assert ids(read(order("mode"), replace(order("mode", id="b"), mode="policy", expires_ms=None))) == []


def test_guard_is_restored_by_its_own_name() -> None:
    """Two guards overridden for the same scope are two orders."""
    other = replace(order("override", id="b"), scope="azure", guard="provider_share")
    first = replace(order("override"), scope="azure")
    assert ids(read(first, other, replace(back("restore"), scope="azure"))) == ["b"]


def test_a_new_verdict_takes_the_place_of_the_old() -> None:
    """The last word counts, also once it has expired: the older one does not come back."""
    log = read(order("verdict"), replace(order("verdict", id="b", for_ms=10_000), state="down"))
    assert ids(log) == ["b"]
    assert ids(log, NOW_MS + 20_000) == []


def test_order_after_it_was_taken_back_holds() -> None:
    """The order in the log decides."""
    assert ids(read(order(), back(), order(id="b"))) == ["b"]


def test_id_counts_once() -> None:
    """A drain that was sent twice doesn't come back after it was taken back."""
    assert ids(read(order(), back(), order())) == []


def test_the_log_says_when_it_was_given() -> None:
    """The sender's clock may be wrong; an order is as old as its place in the log."""
    log = read(replace(order(), issued_ms=NOW_MS - 86_400_000))
    assert log.in_force(NOW_MS)[0].issued_ms == NOW_MS


@pytest.mark.parametrize(
    ("command", "unsigned", "why"),
    [
        (order(), False, "unsigned"),
        (back(), False, "unsigned"),
        (replace(order(), signature="abc"), True, "names no operators"),
        (order(for_ms=0), True, "expired before it was appended"),
        (order("freeze", for_ms=OVERRIDE_MAX_MS + 1), True, "30 days"),
        (replace(order("approve"), expires_ms=None), True, "approve needs expires_ms"),
        (order("drain", "*"), True, "needs a provider"),
        (replace(order("override"), guard=""), True, "needs guard"),
        (replace(order(), guard="fresh_capacity"), True, "names no guard"),
        (replace(order("verdict"), state=""), True, "needs state"),
        (replace(order("override"), guard="fresh_capcity"), True, "did you mean fresh_capacity?"),
        (replace(order("override"), guard="providers_lost"), True, "for the whole table"),
        (replace(order("override"), guard="provider_share"), True, "for whole providers"),
        (None, True, "not an order"),
    ],
)
def test_refused_command_changes_nothing_and_says_why(
    command: Command | None, unsigned: bool, why: str
) -> None:
    """It is read over (the offset moves on), not in force, and its refusal has a reason."""
    log = read(command, unsigned=unsigned)
    assert (log.next_offset, log.orders) == (1, ())
    assert why in log.refused


@pytest.mark.parametrize("guard", NEVER)
def test_law_and_whole_tables_are_never_overridden(guard: str) -> None:
    """Refused with the reason, whoever says so and for whatever scope."""
    log = read(replace(order("override", "*"), guard=guard))
    assert log.orders == ()
    assert NEVER[guard] in log.refused


@pytest.mark.parametrize("guard", OVERRIDABLE)
def test_every_overridable_guard_can_be_overridden_for_the_whole_table(guard: str) -> None:
    """By its own name."""
    assert ids(read(replace(order("override", "*"), guard=guard))) == ["a"]


def test_refusal_is_of_the_last_record_only() -> None:
    """A good command after a bad one is taken and not called refused."""
    log = read(None, order())
    assert log.refused == ""
    assert ids(log) == ["a"]


def test_every_order_is_answered_by_its_id() -> None:
    """Accepted or refused with the reason, each once; a record that is no order has no id to answer."""
    log = read(order(id="good"), None, replace(order(id="bad"), signature="x"), order(id="good"))
    assert [(answer.id, answer.refused) for answer in log.answers] == [("good", "")]
    assert [(answer.id, bool(answer.refused)) for answer in log.rejections] == [("bad", True)]


def test_answers_are_kept_for_as_long_as_an_order_could_count_twice() -> None:
    """All of the last minutes, and the last of those before; rejections push out no answer."""
    many = read(*(order(id=f"d{number}") for number in range(ANSWERS_KEPT_MAX + 1)))
    assert len(many.answers) == ANSWERS_KEPT_MAX + 1
    later_ms = NOW_MS + REPEATABLE_MS
    later = many.apply(many.next_offset, later_ms, order(id="e", for_ms=REPEATABLE_MS * 2), rules=UNSIGNED)
    assert len(later.answers) == ANSWERS_KEPT_MAX
    assert later.answers[-1].id == "e"
    rubbish = (replace(order(id=f"r{number}"), signature="x") for number in range(ANSWERS_KEPT_MAX + 1))
    flooded = read(order(id="good"), *rubbish)
    assert [answer.id for answer in flooded.answers] == ["good"]
    assert len(flooded.rejections) == ANSWERS_KEPT_MAX


def test_everything_has_a_limit() -> None:
    """No more orders and answers than the limits say; the order that is too many is refused."""
    log = read(*(order(id=f"d{number}") for number in range(ORDERS_MAX + 1)))
    assert len(log.orders) == ORDERS_MAX
    assert "in force already" in log.refused
    many = read(*(back(id=f"u{number}") for number in range(RECENT_MAX + 1)))
    assert len(many.answers) == RECENT_MAX
    assert "were given just before it" in many.refused


def published(log: CommandLog) -> RoutesRecord:
    """The publication that takes all of this log into account."""
    taken = log.taken(NOW_MS)
    return RoutesRecord(
        Generation("one", 1, 1),
        NOW_MS,
        commands_next_offset=taken.next_offset,
        answers=taken.answers,
        orders=taken.orders,
        commands_topic_id=taken.topic_id,
        pending=taken.pending,
        rejections=taken.rejections,
    )


def test_a_reader_that_begins_at_a_publication_knows_what_all_before_it_left() -> None:
    """The same orders are in force, and the same ids count no second time."""
    commands = (
        order("drain", "gcp", id="b"),
        order(id="a"),
        None,
        order("drain", "oci", id="c"),
        back(id="d"),
    )
    whole = read(*commands)
    later = CommandLog.after(published(whole), rules=UNSIGNED)
    assert later.in_force(NOW_MS) == whole.in_force(NOW_MS)
    assert (later.next_offset, later.answers) == (5, whole.answers)
    for command in (order(id="a"), order("drain", "coreweave", id="e"), back("undrain", "oci", id="f")):
        whole, later = (log.apply(log.next_offset, NOW_MS, command, rules=UNSIGNED) for log in (whole, later))
    assert later.in_force(NOW_MS) == whole.in_force(NOW_MS)
    assert [order.scope for order in later.in_force(NOW_MS)] == ["coreweave", "gcp"]


def test_unsigned_orders_of_a_publication_count_only_where_unsigned_orders_do() -> None:
    """A controller that refuses unsigned orders refuses those that another one has published."""
    assert CommandLog.after(published(read(order())), rules=STRICT).orders == ()


def test_rubbish_answers_nobody() -> None:
    """It moves the place in the log, and not the place up to which somebody waits for an answer."""
    log = read(order(), None, None)
    assert (log.next_offset, log.answered_offset) == (3, 1)
