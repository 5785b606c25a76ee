"""The chain of policies, read backwards from the one in force."""

from __future__ import annotations

from msgspec.structs import replace

from controller.commands.policies import PolicyInForce, first_policy, policy_after
from controller.commands.policy_history import FROM_FILE, PolicyHistory
from controller.routes.record import LoggedChange, OrderAnswer, RoutesRecord
from tests.unit.controller.commands.changes import NOW_MS, POLICY, change, change_to
from tieline.events import PolicyChange
from tieline.table import Generation

FIRST = first_policy(POLICY, unsigned=True)


def logged(*changes: PolicyChange) -> list[LoggedChange]:
    return [LoggedChange(offset, NOW_MS + offset, item) for offset, item in enumerate(changes)]


def history(
    changes: list[LoggedChange], *, taken: int | None = None, kept: int = 0, answers: bool = True
) -> PolicyHistory:
    """After the first ``taken`` changes (all unless given); the log still has those from ``kept`` on.
    ``answers``: whether the publication still has the answers to them."""
    taken = len(changes) if taken is None else taken
    after = policy_after(FIRST, changes[:taken])
    record = RoutesRecord(
        Generation("one", 0, 1),
        NOW_MS,
        policy=after.policy.packed,
        policy_version=after.policy.version,
        policy_number=after.policy.number,
        policy_answers=after.answers if answers else (),
        commands_next_offset=taken,
    )
    return PolicyHistory(record, changes[kept:], namespace="tieline")


def chain() -> tuple[list[LoggedChange], PolicyInForce]:
    """Three changes that count, and beside the second one that was too late."""
    changes = [change(FIRST, "p1", headroom=0.7)]
    second = policy_after(FIRST, logged(*changes)).policy
    changes += [change(second, "p2", headroom=0.6), change(second, "late", headroom=0.5)]
    third = policy_after(FIRST, logged(*changes)).policy
    changes.append(change_to(third, POLICY, "p3"))
    return logged(*changes), second


def test_every_policy_is_listed_with_who_when_why_and_what_changed() -> None:
    """The newest first; the one from the file last; a refused change with the leader's words."""
    rows = history(chain()[0]).rows
    assert [(row.number, row.id, row.fate) for row in rows] == [
        (3, "p3", "in force"),
        (2, "late", "refused"),
        (2, "p2", "replaced"),
        (1, "p1", "replaced"),
        (0, "", "replaced"),
    ]
    assert (rows[0].actor, rows[0].reason, rows[0].at_ms) == ("kim", "a test", NOW_MS + 3)
    assert [row.summary for row in rows[2:4]] == ["headroom 0.7 -> 0.6", "headroom 0.8 -> 0.7"]
    assert "it follows policy 1" in rows[1].why
    assert rows[-1].reason == FROM_FILE
    assert rows[0].version == rows[-1].version == FIRST.version


def test_each_policy_that_was_in_force_can_be_had_again() -> None:
    """By its number, or by the first digits of its version, of which the newest counts."""
    past = history(chain()[0])
    assert [past.policy(row).headroom for n in "3210" if (row := past.find(n))] == [0.8, 0.6, 0.7, 0.8]
    found = past.find(FIRST.version[:8])
    assert found is not None
    assert found.number == 3
    for name in ("4", "99999999999", FIRST.version[:3], "zzzz", ""):
        assert past.find(name) is None


def test_a_policy_that_the_log_has_lost_is_known_from_its_child() -> None:
    """The log keeps changes for a while only; what is older is not guessed."""
    past = history(chain()[0], kept=1)
    assert [(row.number, row.id) for row in past.rows[-2:]] == [(2, "p2"), (1, "")]
    assert past.rows[-1].at_ms is None
    assert past.rows[-1].reason == ""
    row = past.find("1")
    assert row is not None
    assert past.policy(row).headroom == 0.7
    assert past.find("0") is None


def test_a_change_that_nobody_took_in_yet_waits() -> None:
    """It is neither in force nor refused."""
    past = history(chain()[0], taken=1)
    assert [(row.id, row.fate) for row in past.rows][:4] == [
        ("p3", "waits"),
        ("late", "waits"),
        ("p2", "waits"),
        ("p1", "in force"),
    ]


def test_a_policy_that_never_changed_is_all_there_is() -> None:
    """It is the one in force."""
    assert [(row.number, row.fate, row.reason) for row in history([]).rows] == [(0, "in force", FROM_FILE)]


def test_records_that_the_leader_refused_are_no_links_of_the_chain() -> None:
    """Somebody may write any record, such as a copy of a good one without the parent or with a signature.

    It was refused, also when the answer is forgotten.
    """
    good, _ = chain()
    orphan = replace(good[0].change, id="orphan", parent_policy=good[0].change.policy)
    signed = replace(good[0].change, id="signed", signature="x")
    for forged in (orphan, signed):
        changes = logged(forged, *(item.change for item in good))
        past = history(changes, answers=False)
        assert [row.fate for row in past.rows if row.id == forged.id] == ["refused"]
        assert [row.number for row in past.rows if row.fate in ("in force", "replaced")] == [3, 2, 1, 0]


def test_what_was_refused_for_another_reason_is_known_by_its_answer() -> None:
    """A change that was given with no fault of its own, and that a leader turned away."""
    good, _ = chain()
    changes = logged(replace(good[0].change, id="turned away"), *(item.change for item in good))
    policy = policy_after(FIRST, changes).policy
    record = RoutesRecord(
        Generation("one", 0, 1),
        NOW_MS,
        policy=policy.packed,
        policy_version=policy.version,
        policy_number=policy.number,
        rejections=(OrderAnswer("turned away", NOW_MS, "its sender may not"),),
        commands_next_offset=len(changes),
    )
    rows = PolicyHistory(record, changes, namespace="tieline").rows
    assert [(row.id, row.fate, row.why) for row in rows if row.number == 1] == [
        ("p1", "replaced", ""),
        ("turned away", "refused", "its sender may not"),
    ]
