"""Verdicts as lines and as the table of the page."""

from __future__ import annotations

import pytest

from lab.chaos.catalogue import FAULTS, SAMPLE
from lab.chaos.checker import Finding
from lab.chaos.fault import ChaosFault, Promise, Scene
from lab.chaos.report import TABLE_BEGINS, TABLE_ENDS, as_json, lines, rewritten
from lab.chaos.run import ChaosVerdict


async def _nothing(_: Scene) -> None:
    """Does nothing."""


FAULT = ChaosFault("leader-killed", "SIGKILL of the leader", _nothing, promises=(Promise("next table", 5.0),))


def verdict(*failures: str) -> ChaosVerdict:
    """After one fault."""
    finding = Finding(sent=120, succeeded=120)
    measures = {"next table": 3.21}
    return ChaosVerdict(
        FAULT, ("it is gone",), measures, finding=finding, calm_s=2, took_s=9, failures=failures
    )


def test_the_sum_names_what_failed() -> None:
    """One line for each fault, and how many requests were lost."""
    shown = lines([verdict(), verdict("no calm")])
    assert shown[1].startswith("ok")
    assert "next table 3.2 s; 0 of 120 requests lost; calm after 2.0 s" in shown[1]
    assert shown[2].startswith("FAILED")
    assert shown[-1] == "2 faults, 1 failed; 240 requests, 0 lost"


def test_the_page_gets_its_table_anew() -> None:
    """What stands around it stays, and the rows of faults that were not run."""
    kept = "| `delay`: slower | slow | soon | it was soon |"
    page = f"before\n{TABLE_BEGINS}\nold\n{kept}\n| `gone`: no fault any more |\n{TABLE_ENDS}\nafter\n"
    names = ["leader-killed", "delay", "storm"]
    again = rewritten(page, [verdict()], names)
    assert again.startswith("before\n")
    assert again.endswith("\nafter\n")
    assert "| `leader-killed`: SIGKILL of the leader | it is gone | next table <= 5 s;" in again
    assert again.index("leader-killed") < again.index(kept)
    assert "old" not in again
    assert "gone" not in again.split(kept)[1]
    assert "storm" not in again
    assert rewritten(again, [verdict()], names) == again
    assert "**not as promised**" in rewritten(again, [verdict("no calm")], names)
    with pytest.raises(ValueError, match="the page has no"):
        rewritten("nothing", [verdict()], names)


def test_programs_get_every_value() -> None:
    """The promise beside what was measured."""
    [item] = as_json([verdict()])
    assert item["promised"] == [{"what": "next table", "at_most": 5.0, "unit": "s"}]
    assert item["measured"] == {"next table": 3.21}
    assert item["passed"] is True


def test_the_catalogue_is_whole() -> None:
    """Every fault has words for a reader and a name of its own, and the sample is a part of them."""
    assert set(SAMPLE) <= set(FAULTS)
    assert all(name == fault.name and fault.does for name, fault in FAULTS.items())
    for fault in FAULTS.values():
        assert len({promise.what for promise in fault.promises}) == len(fault.promises)
