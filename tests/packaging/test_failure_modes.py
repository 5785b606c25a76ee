"""The tables of failure modes and of threats name files and tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.places import ROOT
from tools.mutate import missing_test

TABLE = ROOT / "docs" / "failure-modes.md"
ROWS = [line for line in TABLE.read_text().splitlines() if line.startswith("| **")]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("**")[1] for row in ROWS])
def test_a_failure_mode_names_what_answers_it_and_what_shows_it(row: str) -> None:
    """At least one file of the product and one test, and each is there."""
    _, _, where, shown = row.strip("| ").split(" | ")
    files, tests = (re.findall(r"`([^`]+)`", cell) for cell in (where, shown))
    assert files
    assert tests
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert [said for test in tests if (said := missing_test(test))] == []
    assert all(test.startswith("tests/") for test in tests)


THREATS = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| **")]


@pytest.mark.parametrize("row", THREATS, ids=[row.split("**")[1] for row in THREATS])
def test_a_threat_names_what_somebody_can_do_and_what_shows_it(row: str) -> None:
    """Each row of the threat model names who, what they can and can't, and tests that are there."""
    _, can, cannot, shown = row.strip("| ").split(" | ")
    tests = re.findall(r"`([^`]+)`", shown)
    assert can
    assert cannot
    assert tests
    assert [words for test in tests if (words := missing_test(test))] == []
