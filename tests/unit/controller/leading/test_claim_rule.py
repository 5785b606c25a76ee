"""The claim rule, clause by clause."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.leading.claim_rule import NO_OFFSET, RETENTION_MS, SILENCE_MS, LeaderLog
from controller.routes.counting_rule import NO_EPOCH
from tieline.events import Event
from tieline.leader_events import Claimed, Heartbeat, Resigned

Records = list[tuple[int, Event | None]]  # (append time, event), offsets counted from the log's start


def claim(names: int, seen: int, identity: str = "leader") -> Claimed:
    return Claimed(identity, names, seen)


def beat(epoch: int, identity: str = "leader") -> Heartbeat:
    return Heartbeat(identity, epoch)


def read(records: Records, first_offset: int = 0) -> LeaderLog:
    log = LeaderLog.starting_at(first_offset)
    for offset, (append_ms, event) in enumerate(records, first_offset):
        log = log.apply(offset, append_ms, event)
    return log


FIRST: Records = [(0, claim(NO_EPOCH, NO_OFFSET))]


def test_first_claim_on_an_empty_log_leads() -> None:
    """With no epoch in force a claim that names none is valid, and its offset is its epoch."""
    log = read(FIRST)
    assert (log.epoch, log.heartbeat_offset) == (0, 0)


def test_claim_that_names_an_epoch_on_an_empty_log_is_void() -> None:
    """Nothing is in force at its place, so it names the wrong thing."""
    assert read([(0, claim(3, 3))]).epoch == NO_EPOCH


def test_first_of_two_claims_wins() -> None:
    """Both name the same epoch after the same silence: the one that landed first leads."""
    log = read([*FIRST, (SILENCE_MS, claim(0, 0)), (SILENCE_MS + 1, claim(0, 0))])
    assert log.epoch == 1


def test_silence_must_have_lasted() -> None:
    """One millisecond less than 2.5 s between heartbeat and claim, by append time, is no silence."""
    assert read([*FIRST, (SILENCE_MS - 1, claim(0, 0))]).epoch == 0
    assert read([*FIRST, (SILENCE_MS, claim(0, 0))]).epoch == 1


def test_heartbeat_between_refutes_the_claim() -> None:
    """A heartbeat that the candidate had not seen lies between the offset it names and its claim."""
    assert read([*FIRST, (10_000, beat(0)), (13_000, claim(0, 0))]).epoch == 0
    assert read([*FIRST, (10_000, beat(0)), (13_000, claim(0, 1))]).epoch == 2


def test_claim_naming_what_is_no_heartbeat_is_void() -> None:
    """The offset named must be the last heartbeat of the epoch in force, not just a later one."""
    assert read([*FIRST, (1, None), (SILENCE_MS, claim(0, 1))]).epoch == 0


def test_resigned_epoch_needs_no_silence() -> None:
    """After a resignation the next claim is valid at once; of two, again the first."""
    log = read([*FIRST, (100, Resigned("leader", 0)), (101, claim(0, 0)), (102, claim(0, 0))])
    assert log.epoch == 2
    assert not log.resigned


def test_resignation_of_another_epoch_changes_nothing() -> None:
    """Only the epoch in force can resign."""
    records: Records = [
        *FIRST,
        (SILENCE_MS, claim(0, 0)),
        (2_600, Resigned("leader", 0)),
        (2_700, claim(1, 1)),
    ]
    assert read(records).epoch == 1


def test_deposed_leader_does_not_come_back_by_beating() -> None:
    """A late heartbeat of an older epoch neither puts it in force again nor refutes a claim on the newer."""
    deposed: Records = [*FIRST, (SILENCE_MS, claim(0, 0)), (SILENCE_MS + 1, beat(0))]
    assert read(deposed).epoch == 1
    assert read([*deposed, (2 * SILENCE_MS, claim(1, 1))]).epoch == 3


def test_heartbeat_of_an_epoch_from_the_future_is_ignored() -> None:
    """An epoch is the offset of a claim, so a heartbeat can't name one at or above its own offset."""
    assert read([*FIRST, (1, beat(99))]).epoch == 0
    assert read([(1, beat(2**53))], first_offset=50).epoch == NO_EPOCH


def test_heartbeats_stand_for_a_claim_that_retention_removed() -> None:
    """When the log's past is gone the highest epoch that a heartbeat names is in force."""
    assert read([(0, beat(7)), (500, beat(7))], first_offset=100).epoch == 7
    assert read([(0, beat(5)), (500, beat(7)), (900, beat(5))], first_offset=100).epoch == 7
    log = read([(0, beat(7)), (SILENCE_MS, claim(7, 100))], first_offset=100)
    assert log.epoch == 101


def test_claim_without_its_past_waits_for_a_heartbeat() -> None:
    """A claim that is the oldest record left is taken on trust until a heartbeat says who really leads."""
    alone = read([(0, claim(30, 99))], first_offset=100)
    assert (alone.epoch, alone.provisional) == (100, True)
    assert read([(0, claim(30, 99)), (1, beat(100))], first_offset=100).epoch == 100
    assert read([(0, claim(30, 99)), (1, beat(30))], first_offset=100).epoch == 30


def test_only_its_own_leader_keeps_an_epoch_alive() -> None:
    """A heartbeat or resignation that another process sends for the epoch in force changes nothing, so that
    it neither hides the silence of a dead leader nor ends a leadership; what is wrong is said."""
    log = read([*FIRST, (2_000, beat(0, "forger"))])
    assert (log.heartbeat_offset, log.refusal) == (0, "forger sent a heartbeat for another controller")
    assert log.apply(2, SILENCE_MS, claim(0, 0, "next")).epoch == 2
    log = read([*FIRST, (100, Resigned("forger", 0))])
    assert (log.resigned, log.refusal) == (False, "forger resigned for another controller")


def test_claim_on_the_future_is_void() -> None:
    """A claim that names an epoch or a heartbeat at or above its own offset was made up."""
    for names, heartbeat in ((99, 99), (0, 99), (2**53, 0)):
        log = read([*FIRST, (SILENCE_MS, claim(names, heartbeat, "forger"))])
        assert (log.epoch, log.refusal) == (0, "a claim of forger names a record that is not there")
    assert read([(0, claim(100, 100))], first_offset=100).epoch == NO_EPOCH
    assert read([(0, claim(2, 100))], first_offset=100).epoch == NO_EPOCH


def test_heartbeat_of_what_no_claim_began_is_void() -> None:
    """Neither in a whole log nor, once the epoch in force was heard twice, in one that lost its past."""
    log = read([*FIRST, (1, None), (2, None), (3, beat(2, "forger"))])
    assert (log.epoch, log.refusal) == (0, "a heartbeat names epoch 2, which is none")
    truncated: Records = [(0, beat(7)), (500, beat(7)), (900, beat(42, "forger"))]
    log = read(truncated, first_offset=100)
    assert (log.epoch, log.heartbeat_offset) == (7, 101)
    assert log.refusal == "a heartbeat names epoch 42, which is none"


def test_forged_heartbeat_at_the_start_of_a_cut_log_is_outvoted() -> None:
    """The oldest record left names a high epoch that nobody leads: two heartbeats in a row of the true leader
    put that one in force."""
    forged: Records = [(0, beat(90, "forger")), (1, beat(7)), (501, beat(7))]
    assert read(forged[:2], first_offset=100).epoch == 90
    log = read(forged, first_offset=100)
    assert (log.epoch, log.proven) == (7, True)
    assert not log.is_epoch(90, "forger")


def test_epochs_are_the_offsets_of_valid_claims() -> None:
    """Another offset, another leader's name and an offset of the future are no epochs."""
    log = read([*FIRST, (SILENCE_MS, claim(0, 0, "next")), (SILENCE_MS + 1, claim(0, 0, "slow"))])
    assert log.is_epoch(0, "leader")
    assert log.is_epoch(1, "next")
    for epoch, identity in ((1, "leader"), (2, "slow"), (3, "next"), (9_999_999_999_999_999, "next")):
        assert not log.is_epoch(epoch, identity)


def test_removed_epochs_are_believed_up_to_the_one_in_force() -> None:
    """Where retention removed the claims nothing above the epoch that was in force then is an epoch."""
    log = read([(0, beat(7)), (500, beat(7)), (4_000, claim(7, 101, "next"))], first_offset=100)
    assert [epoch for epoch in range(200) if log.is_epoch(epoch, "anybody")] == list(range(8))
    assert log.is_epoch(102, "next")
    cut_at_a_claim = read([(0, claim(30, 99)), (1, beat(100))], first_offset=100)
    assert not cut_at_a_claim.is_epoch(31, "anybody")
    assert read([], first_offset=100).is_epoch(99, "anybody")


def test_log_that_retention_emptied_starts_anew() -> None:
    """With and without a memory of the old log, readers agree on the claim of one that saw it empty."""
    log = read(FIRST)
    assert log.apply(1, RETENTION_MS - 1, claim(NO_EPOCH, NO_OFFSET)).epoch == 0
    assert log.apply(1, RETENTION_MS, claim(NO_EPOCH, NO_OFFSET)).epoch == 1
    assert read([(RETENTION_MS, claim(NO_EPOCH, NO_OFFSET))], first_offset=1).epoch == 1


def test_repeated_record_changes_nothing() -> None:
    """Offsets below the next one were read already."""
    log = read([*FIRST, (SILENCE_MS, claim(0, 0))])
    assert log.apply(0, 0, beat(0)) is log


def events(offsets: int) -> st.SearchStrategy[Event | None]:
    number = st.integers(-1, offsets)
    epoch = st.integers(0, offsets)
    return st.one_of(
        st.none(),
        st.builds(claim, number, number),
        st.builds(beat, epoch),
        st.builds(lambda e: Resigned("leader", e), epoch),
    )


@given(st.lists(st.tuples(st.integers(0, 3_000), events(12)), max_size=12))
def test_epoch_only_rises_and_is_always_a_claim(steps: list[tuple[int, Event | None]]) -> None:
    """Whatever a whole log holds, the epoch in force never falls, and is the offset of a claim that the plain
    reading of the rule finds valid."""
    log, now_ms = LeaderLog(), 0
    records: Records = []
    for offset, (later_ms, event) in enumerate(steps):
        now_ms += later_ms
        records.append((now_ms, event))
        after = log.apply(offset, now_ms, event)
        assert after.epoch >= log.epoch
        assert after.epoch == plainly_in_force(records)
        log = after


def plainly_in_force(records: Records) -> int:
    """The claim rule as it is written, read off the whole log each time."""
    cur = NO_EPOCH
    for i, (t, event) in enumerate(records):
        if not isinstance(event, Claimed) or event.names_epoch != cur:
            continue
        if cur == NO_EPOCH:
            cur = i if event.last_heartbeat_offset == NO_OFFSET else cur
            continue
        seen = event.last_heartbeat_offset
        own = [j for j in range(cur, i) if j == cur or records[j][1] == beat(cur)]
        resigned = any(records[j][1] == Resigned("leader", cur) for j in range(cur, i))
        if seen == own[-1] and (resigned or t - records[seen][0] >= SILENCE_MS):
            cur = i
    return cur


def test_claim_that_names_another_epoch_is_void() -> None:
    """Though it names the last heartbeat rightly and the silence has lasted."""
    log = read([*FIRST, (SILENCE_MS, claim(0, 0))])
    assert log.epoch == 1
    for named in (0, 7):
        assert log.apply(2, 2 * SILENCE_MS, claim(named, 1)).epoch == 1
    assert log.apply(2, 2 * SILENCE_MS, claim(1, 1)).epoch == 2


def counted(epoch: int, number: int) -> Heartbeat:
    return Heartbeat("leader", epoch, number)


def test_copy_of_a_heartbeat_keeps_no_dead_leader_alive() -> None:
    """A signed heartbeat can be read and sent again: its number has been heard, so it is refused. One that
    comes late after a newer one says nothing either, and a new one counts."""
    log = read([*FIRST, (500, counted(0, 1)), (1_000, counted(0, 2))])
    copied = log.apply(3, 2_000, counted(0, 2))
    assert copied.refusal == "a copy of heartbeat 2 of leader"
    assert copied.heartbeat_offset == log.heartbeat_offset == 2
    late = copied.apply(4, 2_100, counted(0, 1))
    assert (late.refusal, late.heartbeat_offset) == ("", 2)
    assert late.apply(5, 3_600, claim(0, 2)).epoch == 5
    assert late.apply(5, 3_600, counted(0, 3)).heartbeat_offset == 5


def test_number_of_heartbeats_begins_anew_with_each_epoch() -> None:
    """Another process counts its own heartbeats."""
    log = read([*FIRST, (500, counted(0, 40)), (500 + SILENCE_MS, claim(0, 1, "next"))])
    assert log.apply(3, 4_000, Heartbeat("next", 2, 1)).heartbeat_offset == 3


def test_records_that_are_not_believed_are_like_a_removed_past() -> None:
    """Controllers that begin to check signatures continue the epoch of one that only signed: its claim names
    an unsigned one that they can't believe. Once a record was believed, others only change nothing."""
    log = LeaderLog.starting_at(0).ignore(0).ignore(1)
    assert (log.epoch, log.next_offset) == (NO_EPOCH, 2)
    log = log.apply(2, 9_000, claim(0, 1))
    assert log.epoch == 2
    assert log.ignore(3) == replace(log, next_offset=4)
    assert log.ignore(1) == log
