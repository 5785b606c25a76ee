"""What `tieline status` says above its tables, the worst first, and its exit status."""

import io

import pytest
from msgspec.structs import replace

from controller.cli.terminal import Screen
from controller.core.evidence.reported import ReportingClients, reporting_clients
from controller.core.model.reasons import Reason, Verdict
from controller.process.telemetry import without_controls
from controller.routes.record import PendingOrder
from controller.status.dead_letters import DeadLettersSeen
from controller.status.gather import Status, unnamed_orders
from controller.status.head import NO_LEADER_AFTER_MS, exit_status, head
from controller.status.leadership import LeaderRow
from controller.status.overview import Overview, RouteRow
from streams.rows import DemandRow, DemandSecond, Position
from tests.unit.controller.operating import order, signed_policy
from tieline.overlay import Overlay

NOW_MS = 1_800_000_000_000
LEADER = LeaderRow(7, NOW_MS - 200, "a171a927c0", resigned=False)
NOTHING = Overview((), (), ())
SHED = RouteRow("chat/eu", {}, 0.25, reason="no_room", why="no pool has room", criticality="critical")


def status(**more: object) -> Status:
    """A status in which nothing is wrong, but for what the test says."""
    well = Status("l:7:3", NOW_MS - 2_000, NOW_MS, None, "0f0319eaff", LEADER, NOTHING)
    return replace(well, **more)


def lines(**more: object) -> list[str]:
    """The head's lines."""
    return [line.text for line in head(status(**more))]


def test_when_nothing_is_wrong_there_are_two_lines_and_the_status_is_0() -> None:
    """Who leads, and what is in force."""
    assert lines() == [
        "leader a171a927 (epoch 7), heard 200 ms ago",
        "generation l:7:3, published 2 s ago; policy 0 (0f0319ea)",
    ]
    assert exit_status(status()) == 0


def test_orders_that_a_person_should_know_of_are_named() -> None:
    """One that waits for a second person, with the command that signs it; and one of a former operator, with
    the command that ends it."""
    drain = order("drain", "oci", at_ms=NOW_MS)
    item = PendingOrder(drain, NOW_MS, NOW_MS + 900_000, signers=("kim",), approvals=2)
    assert lines(pending=(item,))[2] == (
        "drain oci by kim is not in force yet: one more person must sign it until 2027-01-15 08:15:00 UTC, "
        "with `tieline countersign a --reason ...`; why: why"
    )
    assert lines(commands=(drain,), unnamed=("a",))[2] == (
        "drain oci stays in force, though the policy no longer names kim; `tieline undrain oci` ends it"
    )
    assert unnamed_orders((drain,), signed_policy(leave_out=("kim",))) == ("a",)
    assert unnamed_orders((drain,), signed_policy()) == ()


def test_the_context_is_named_above_all() -> None:
    """Who looks at the wrong installation sees it before anything else."""
    assert lines(context="context prod, Kafka by --kafka")[0] == "context prod, Kafka by --kafka"


def test_what_is_shed_comes_first() -> None:
    """One sentence a workload, with its criticality, its routes and why; the exit status is 1."""
    other = replace(SHED, route="chat/us", shed=0.1)
    sheds = status(overview=Overview((), (), (SHED, other)), missing=())
    assert head(sheds)[0].text == "SHEDDING chat (critical): 25.0% from eu, 10.0% from us: no pool has room"
    assert exit_status(sheds) == 1


@pytest.mark.parametrize(
    ("leader", "words"),
    [
        (replace(LEADER, resigned=True), "the last one resigned, epoch 7"),
        (replace(LEADER, heard_ms=NOW_MS - NO_LEADER_AFTER_MS - 1), "the last one was heard then, epoch 7"),
    ],
)
def test_no_leader_is_said_with_since_when(leader: LeaderRow, words: str) -> None:
    """In the first line, and by the exit status."""
    first = lines(leader=leader)[0]
    assert first.startswith("NO LEADER since 20")
    assert words in first
    assert exit_status(status(leader=leader)) == 1


def test_what_can_not_be_known_is_2_even_if_nothing_else_is_wrong() -> None:
    """A script must not take silence for health."""
    assert exit_status(status(missing=("Kafka can't be read: away",))) == 2
    assert "Kafka can't be read: away" in lines(missing=("Kafka can't be read: away",))


def test_an_alarm_is_a_line_and_status_1() -> None:
    """In words."""
    alarm = Verdict("azure/r/d", Reason.CONFIGURATION_AUTH, NOW_MS - 5_000)
    assert any(line.startswith("alarm: azure/r/d") for line in lines(alarms=(alarm,)))
    assert exit_status(status(alarms=(alarm,))) == 1


def test_overlay_clients_and_dead_letters_are_told() -> None:
    """Who excluded what and for how long; which tables clients use; dead letters by reason."""
    overlay = Overlay(
        id="ov", namespace="t", exclude=("azure",), issued_ms=NOW_MS, expires_ms=NOW_MS + 60_000,
        actor="eve", reason="on fire",
    )  # fmt: skip
    clients = ReportingClients(3, 1, NOW_MS - 1_000, generations={"l:7:3": 2, "l:7:2": 1})
    letters = DeadLettersSeen(5, {"not_json": 4, "": 1})
    text = "\n".join(lines(overlay=overlay, clients=clients, dead_letters=letters))
    assert "emergency overlay excludes azure for 60 s more, by eve: on fire" in text
    assert "clients: 3 report: 2 with l:7:3, 1 with l:7:2; 1 have fallen silent" in text
    assert "dead letters in the last hour: 5: not_json 4, none 1" in text


def test_clients_that_no_longer_report_are_silent() -> None:
    """A partition's clients count as heard by its seconds of the last moments, else as silent."""
    fresh = DemandSecond(NOW_MS - 1_000, 2, (), ())
    old = DemandSecond(NOW_MS - 60_000, 5, (), ())
    rows = (
        DemandRow(Position("t", 0, 1), (fresh,), generations={"g": 2}),
        DemandRow(Position("t", 1, 1), (old,), generations={"g": 5}),
    )
    seen = reporting_clients(rows, NOW_MS)
    assert seen == ReportingClients(2, 5, NOW_MS - 1_000, generations={"g": 2})
    late = lines(clients=reporting_clients(rows[1:], NOW_MS))
    assert "clients: none has reported for 60 s, so load is not known" in late


def test_control_characters_are_never_drawn() -> None:
    """Neither escape sequences nor what turns the direction of text, whatever they stand in."""
    evil = "a\x1b[31mb\x07c\u202ed\x9be\n"
    assert without_controls(evil) == "a[31mbcde\n"
    drawn = io.StringIO()
    Screen(file=drawn, width=80).print(evil, markup=False)
    assert drawn.getvalue() == "a[31mbcde\n\n"
