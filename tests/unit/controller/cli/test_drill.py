"""`tieline drill` before anything is sent, and what it prints of drills."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from controller.cli import main
from controller.cli.drill_plan import noise_of, parse_plan
from controller.cli.drill_results import drill_rows, print_list, print_one
from controller.cli.drill_run import DrillReport, progress_words, unrest_of
from controller.cli.drill_schedule import schedule_of
from controller.core.model.drill import DrillCause, DrillMemory, DrillOutcome, DrillPhase
from controller.core.model.memory import Memory
from controller.core.snapshot import Office, Snapshot
from controller.history.drills import begun, drill_entries, outcome_entry
from controller.process.errors import UserError
from controller.status.gather import lasting_orders
from controller.status.live import Moment
from tests.unit.controller.core.made import NOW_MS, policy, pool
from tests.unit.controller.history.recorded import WHOLE, made_table, order
from tieline.overlay import Overlay

NOWHERE = ("--kafka", "127.0.0.1:9")
RUNNING = DrillMemory(
    "cmd-4f1c", "azure", "kim", reason="practice", began_ms=NOW_MS, until_ms=NOW_MS + 600_000, objective_s=60
)
ENDED = replace(
    RUNNING,
    phase=DrillPhase.RETURNING,
    recovered_ms=NOW_MS + 3_000,
    ended_ms=NOW_MS + 600_000,
    outcome=DrillOutcome.SUCCEEDED,
)
OVER = replace(ENDED, phase=DrillPhase.OVER, returned_ms=NOW_MS + 641_000, over_ms=NOW_MS + 641_000)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("--for", "10m", "--reason", "x"), "give one SCOPE"),
        (("azure", "gcp", "--for", "10m", "--reason", "x"), "give one SCOPE"),
        (("azure", "--for", "10m"), "--reason must not be empty"),
        (("azure", "--reason", "x"), "give --for TIME"),
        (("azure", "--for", "31d", "--reason", "x"), "at most 30d"),
        (("azure", "--plan", "p.yaml", "--reason", "x"), "--plan names the drills itself"),
        (("--plan", "nowhere.yaml", "--reason", "x"), "nowhere.yaml can't be read"),
        (("azure", "--for", "1m", "--reason", "x", "--schedule", "* * *"), "give five fields"),
        (("azure", "--for", "1m", "--reason", "x", "--schedule", "0 0 31 2 *"), "is no time that comes"),
        (
            ("azure", "--reason", "x", "--schedule", "0 0 * * 3", "--wait"),
            "leave --json, --dry-run and --wait",
        ),
        (("show",), "give the id of one drill"),
        (("list", "azure"), "takes no names"),
    ],
)
def test_what_is_typed_wrong_is_told_in_one_sentence(
    typed: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and nobody was asked."""
    assert main(["drill", *typed, *NOWHERE]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_all_mistakes_in_a_plan_are_told_at_once() -> None:
    """Each with its step and its remedy."""
    text = """
name: quarterly
owner: kim
steps:
  - drill: azure
  - wait: a while
  - {wait: 5m, within: 1m}
  - {approve: "", by: kim}
  - {drill: azure, wait: 5m}
  - {drill: AZURE!, for: 10m}
  - {drill: azure, for: 10m, until: noon}
"""
    with pytest.raises(UserError) as mistakes:
        parse_plan(text, name="plan.yaml")
    assert str(mistakes.value).splitlines() == [
        "plan.yaml: there is no field 'owner': a plan has name and steps",
        "plan.yaml: step 1: drill azure needs `for`, such as `for: 10m`",
        "plan.yaml: step 2: wait 'a while': give a time like 90s, 30m, 1h or 2d, at most 30d",
        "plan.yaml: step 3: within belongs to `wait: quiet`",
        "plan.yaml: step 4: approve must not be empty",
        "plan.yaml: step 5: give one of drill, wait and approve",
        "plan.yaml: step 6: SCOPE is not valid: give PROVIDER, PROVIDER/REGION or a whole pool name",
        "plan.yaml: step 7: drill has no until",
    ]


@pytest.mark.parametrize("text", ["", "steps: []", "[1, 2]", "steps: {a: b}", "steps: ["])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """Whatever it is."""
    with pytest.raises(UserError, match=r"plan\.yaml"):
        parse_plan(text, name="plan.yaml")


def test_a_plan_reads_as_it_is_written(tmp_path: Path) -> None:
    """Its name is that of the file where it has none."""
    text = """
steps:
  - {wait: quiet}
  - {approve: "Is everybody informed?", by: kim}
  - {drill: azure/swedencentral, for: 10m}
  - {wait: 15m}
"""
    plan = parse_plan(text, name=str(tmp_path / "quarterly.yaml"))
    assert plan.name == "quarterly"
    assert [step.words for step in plan.steps] == [
        "wait until all is quiet, at most 1800 s",
        "kim approves: Is everybody informed?",
        "drill azure/swedencentral for 600 s",
        "wait for 900 s",
    ]


def test_a_schedule_is_in_utc() -> None:
    """15 January 2027 is a Friday."""
    wednesdays = schedule_of("0 10 * * 3")
    assert wednesdays.next_ms(NOW_MS) == NOW_MS + (5 * 24 + 2) * 3_600_000
    assert wednesdays.next_ms(wednesdays.next_ms(NOW_MS)) == NOW_MS + (12 * 24 + 2) * 3_600_000


def moment(memory: Memory, overlay: Overlay | None = None) -> Moment:
    """A quiet one but for what is given."""
    rules = policy((pool("azure/r"), pool("gcp/r")))
    office = Office("test", 1, 1, took_office_ms=0, voluntary_after_ms=0)
    snapshot = Snapshot(rules, office, memory=memory, table=WHOLE)
    return Moment(NOW_MS, snapshot, overlay=overlay)


def test_a_plan_waits_for_quiet() -> None:
    """While a drill runs, load is shed, an alarm stands or an overlay is in force, it is not."""
    assert noise_of(moment(Memory())) == ""
    assert noise_of(moment(Memory(drills=(OVER,)))) == ""
    assert noise_of(moment(Memory(drills=(ENDED,)))) == "the drill of azure is not over"
    shedding = moment(Memory())
    table = made_table({"chat/eu": (500_000, 0)})
    assert noise_of(replace(shedding, snapshot=replace(shedding.snapshot, table=table))) == "chat/eu is shed"
    clock = replace(shedding.snapshot.office, clock_trusted=False)
    alarmed = replace(shedding, snapshot=replace(shedding.snapshot, office=clock))
    assert noise_of(alarmed).startswith("table: the routes stay: this controller's clock can't be trusted")
    overlay = Overlay(
        id="o-1",
        namespace="test",
        exclude=("azure",),
        actor="kim",
        reason="fire",
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + 1,
    )
    assert unrest_of(moment(Memory(), overlay)).startswith("the overlay o-1 is in force")


@pytest.mark.parametrize(
    ("drill", "words", "status"),
    [
        (RUNNING, "drill azure runs: its pools are being emptied", 0),
        (
            replace(RUNNING, phase=DrillPhase.EMPTY, recovered_ms=NOW_MS + 3_000),
            "drill azure runs: its pools were empty after 3 s (objective 60 s)",
            0,
        ),
        (ENDED, "drill azure succeeded; its pools were empty after 3 s (objective 60 s)", 0),
        (replace(ENDED, outcome=DrillOutcome.FAILED, cause=DrillCause.TOO_SLOW), "drill azure failed: ", 5),
        (
            replace(ENDED, outcome=DrillOutcome.INTERRUPTED, cause=DrillCause.POOL_ILL, about="oci/r/d"),
            "drill azure was interrupted: oci/r/d is ill",
            6,
        ),
        (
            replace(OVER, outcome=DrillOutcome.NOT_STARTED, cause=DrillCause.OTHER_DRILL, recovered_ms=0),
            "drill azure did not begin: another drill is not over yet",
            7,
        ),
    ],
)
def test_each_outcome_has_its_words_and_its_exit_status(drill: DrillMemory, words: str, status: int) -> None:
    """As the help of the command lists them."""
    assert progress_words(drill).startswith(words)
    assert DrillReport("azure", drill=drill).exit_status == status


def test_a_drill_that_is_not_over_in_time_has_its_own_status() -> None:
    """It goes on without the terminal."""
    assert DrillReport("azure", drill=RUNNING, timed_out=True).exit_status == 3


def test_results_are_read_from_the_history(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each drill, and all entries of one."""
    entries = (begun(RUNNING, NOW_MS), outcome_entry(ENDED), *drill_entries((ENDED,), (OVER,)))
    rows = drill_rows(entries)
    print_list(rows, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["result"]["outcome"] == "succeeded"
    assert (row["result"]["recovery_ms"], row["result"]["return_ms"]) == (3_000, 41_000)
    print_list(rows, as_json=False)
    listed = capsys.readouterr().out
    assert "3 s of 60 s" in listed  # times and names are whole in 80 columns
    assert all(len(line) <= 80 for line in listed.splitlines())
    assert "41 s" in listed
    print_one(rows, "4f1c", as_json=False)
    shown = capsys.readouterr().out
    assert "drill azure begins, for 10 min" in shown
    assert "after drill azure the load was back after 41 s" in shown
    with pytest.raises(UserError, match="the history has no drill with the id 'nine'"):
        print_one(rows, "nine", as_json=False)


def test_a_drill_that_is_over_is_no_order_in_force() -> None:
    """Its order lies in the log until its expiry, and does nothing any more."""
    drill = order("drill", "azure", id_="cmd-4f1c")
    assert lasting_orders((drill,), Memory(drills=(RUNNING,))) == (drill,)
    assert lasting_orders((drill,), Memory(drills=(ENDED,))) == ()
