"""Who is fit to lead, and what follows when a controller is not."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from msgspec.structs import replace
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from controller.leading.fitness import (
    YIELD_AFTER_MS,
    Fitness,
    PolicyNames,
    clock_fault,
    file_notice,
    lineage_fault,
    others_of,
    tables_fault,
    version_fault,
)
from controller.leading.presence import PRESENT_MS, Fault, Presence, Roster, encode_presence
from controller.leading.redis_check import redis_fault
from controller.process.roles import Role
from controller.routes.unread import EVERYTHING_READ, Unread

FAULT = Fault("redis_away", "Redis is away")
OWN = PolicyNames("one", "new")
IN_FORCE = PolicyNames("one", "old", 3)


def presence(identity: str = "other", **more: object) -> Presence:
    return replace(
        Presence(
            identity=identity,
            host=f"host-{identity}",
            pid=1,
            version="1",
            started_ms=0,
            lineage="one",
            policy_version="old",
            checked=True,
        ),
        **more,
    )


def record(value: bytes, append_ms: int) -> ConsumerRecord[bytes | None, bytes | None]:
    return ConsumerRecord("t", 0, 0, append_ms, 1, None, value, None, 0, 0, ())


def roster(*rows: tuple[Presence, int]) -> Roster:
    """Of (presence, append time)."""
    seen = Roster()
    for row, append_ms in rows:
        seen.take(record(encode_presence(row)[0], append_ms))
    return seen


def fitness_with(*faults: Fault, others: tuple[Presence, ...] = (), since_ms: int = 0) -> Fitness:
    fitness = Fitness()
    fitness.note(faults, others, since_ms)
    return fitness


def test_nobody_is_fit_before_the_first_look() -> None:
    """A process that has just begun neither claims nor takes partitions."""
    assert not Fitness().is_fit
    assert fitness_with().is_fit
    assert not fitness_with(FAULT).is_fit


def test_leader_yields_only_to_a_fit_one_and_only_for_a_lasting_fault() -> None:
    """Alone, beside others that are not fit, and for a moment it leads on."""
    others = (presence(),)
    assert fitness_with(FAULT, others=others).must_yield(Role.DECIDE, YIELD_AFTER_MS)
    assert not fitness_with(FAULT, others=others).must_yield(Role.DECIDE, YIELD_AFTER_MS - 1)
    assert not fitness_with(FAULT).must_yield(Role.DECIDE, YIELD_AFTER_MS)
    assert not fitness_with(others=others).must_yield(Role.DECIDE, YIELD_AFTER_MS)
    for other in (presence(faults=(FAULT,)), presence(checked=False), presence(leaving=True)):
        assert not fitness_with(FAULT, others=(other,)).must_yield(Role.DECIDE, YIELD_AFTER_MS)


def test_nobody_yields_to_a_controller_of_another_role() -> None:
    """One that takes events in can't lead, and one that decides takes no partitions."""
    for work, other_work in ((Role.DECIDE, Role.INGEST), (Role.INGEST, Role.DECIDE)):
        for role, yields in ((work, True), (Role.BOTH, True), (other_work, False)):
            fitness = fitness_with(FAULT, others=(presence(role=role.value),))
            assert fitness.must_yield(work, YIELD_AFTER_MS) is yields


def test_fault_counts_from_its_beginning() -> None:
    """A fault that is found again at the next look has lasted since the first."""
    fitness = fitness_with(FAULT, others=(presence(),))
    fitness.note((FAULT,), (presence(),), YIELD_AFTER_MS - 1)
    assert fitness.must_yield(Role.DECIDE, YIELD_AFTER_MS)


def test_another_lineage_is_never_fit() -> None:
    """Whoever else is there."""
    other = PolicyNames("two", "new")
    fault = lineage_fault(other, IN_FORCE)
    assert fault is not None
    assert fault.kind == "lineage"
    assert lineage_fault(other, None) is None
    assert file_notice(other, IN_FORCE) == ""


def test_another_policy_file_is_no_fault_and_is_told() -> None:
    """The controller follows the policy in force; the sentence names both, and what to do."""
    assert lineage_fault(OWN, IN_FORCE) is None
    notice = file_notice(OWN, IN_FORCE)
    assert "its policy file (new) is not policy 3 (old)" in notice
    assert "tieline policy show" in notice
    assert file_notice(OWN, None) == file_notice(PolicyNames("one", "old"), IN_FORCE) == ""


def test_redis_must_hold_the_tables_that_the_leader_uses() -> None:
    """An empty database, or another one, is the wrong one; without a leader's word nothing is known."""
    leader = presence(epoch=3, tables_run="run")
    assert tables_fault("run", "redis://here", [leader]) is None
    for run in ("", "another"):
        fault = tables_fault(run, "redis://here", [leader])
        assert fault is not None
        assert fault.kind == "redis_database"
    assert tables_fault("", "redis://here", [replace(leader, tables_run="")]) is None
    assert tables_fault("x", "redis://here", [replace(leader, faults=(FAULT,))]) is None
    assert tables_fault("x", "redis://here", []) is None


def test_clock_that_is_off_is_named_with_its_side() -> None:
    """How far, and whether ahead or behind; a jump has no distance."""
    ahead, behind, jumped = (clock_fault(ms, trusted=False) for ms in (60_000, -60_000, 0))
    assert ahead is not None and "60 s ahead of" in ahead.words  # noqa: PT018
    assert behind is not None and "60 s behind" in behind.words  # noqa: PT018
    assert jumped is not None and "has jumped" in jumped.words  # noqa: PT018
    assert clock_fault(60, trusted=True) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthenticationError("invalid username-password pair or user is disabled."), "redis_password"),
        (ResponseError("NOAUTH Authentication required."), "redis_password"),
        (ConnectionError("NOAUTH Authentication required."), "redis_password"),
        (NoPermissionError("this user has no permissions"), "redis_permission"),
        (ReadOnlyError("You can't write against a read only replica."), "redis_read_only"),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "redis_full"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "redis_full"),
        (ResponseError("DB index is out of range"), "redis_database"),
        (ConnectionError("Error 111 connecting"), "redis_away"),
        (TimeoutError(), "redis_away"),
        (OSError("no route to host"), "redis_away"),
    ],
)
def test_each_failure_of_redis_has_a_name_and_a_remedy(error: Exception, kind: str) -> None:
    """The words name the address."""
    fault = redis_fault(error, "redis://there/0")
    assert fault.kind == kind
    assert "redis://there/0" in fault.words


def test_a_refusal_by_a_node_of_a_cluster_has_the_same_remedy() -> None:
    """Nobody could be asked where the primary is, because each node refuses the password; redis-py makes a
    connection error of it."""
    lost = ConnectionError("no node of the cluster says where the primary is")
    lost.__cause__ = AuthenticationError("WRONGPASS")
    outer = ConnectionError("Error connecting")
    outer.__cause__ = lost
    assert redis_fault(outer, "redis://there/0").kind == "redis_password"
    lost.__cause__ = NoPermissionError("NOPERM cluster|info")
    fault = redis_fault(outer, "redis://there/0")
    assert fault.kind == "redis_permission"
    assert "cluster|info" in fault.words


def test_roster_knows_who_is_there() -> None:
    """Who said something within 5 s and not that it leaves; rubbish on the topic changes nothing."""
    seen = roster((presence("a"), 0), (presence("b"), 1), (presence("b", leaving=True), 2))
    assert [other.identity for other in others_of(seen, "me", PRESENT_MS - 1)] == ["a"]
    assert others_of(seen, "me", PRESENT_MS) == ()
    assert others_of(seen, "a", 0) == ()
    assert not seen.take(record(b"\xff", 0))
    assert not seen.take(record(msgspec.msgpack.encode({"identity": 1}), 0))
    assert seen.take(record(encode_presence(presence("a", leaving=True))[0], 3))


def test_an_older_version_claims_only_where_it_loses_little_and_nobody_else_can() -> None:
    """Behind a newer leader: fields of the memory may be lost where no other controller is there. What can't
    be continued, a contract for instance, is left to a newer version, however long that takes."""
    loses = version_fault(Unread(lost=("memory.tides",)), Role.BOTH)
    refuses = version_fault(Unread("schema 2"), Role.BOTH)
    assert loses is not None
    assert "would lose memory.tides" in loses.words
    assert refuses is not None
    assert "schema 2" in refuses.words
    assert version_fault(EVERYTHING_READ, Role.BOTH) is None
    assert fitness_with(loses).may_claim
    assert not fitness_with(loses).is_fit
    assert not fitness_with(loses, others=(presence(),)).may_claim
    assert fitness_with(loses, others=(presence(role="ingest"),)).may_claim
    assert fitness_with(loses, others=(presence(faults=(FAULT,)),)).may_claim
    assert not fitness_with(refuses).may_claim
    assert not fitness_with(loses, FAULT).may_claim
    assert fitness_with(others=(presence(),)).may_claim
    assert not Fitness().may_claim


def test_who_only_takes_events_in_loses_no_memory() -> None:
    """It never writes a publication, but it checks events against the policy."""
    assert version_fault(Unread(lost=("memory.tides",)), Role.INGEST) is None
    assert version_fault(Unread("the policy"), Role.INGEST) is not None
