"""The list of broken rules fits the code, and the program that works through it tells what came of each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.mutate import ListError, Mutation, fault, read, run

RULE = '''"""A rule."""


def may(units: int) -> bool:
    """Whether that much may go."""
    return units <= 10
'''
TEST = '''"""Its test."""

from rule import may


def test_ten_is_the_limit() -> None:
    """And no more."""
    assert may(10)
'''
TESTED = ("tests/test_rule.py",)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one rule, whose test forgets half of it."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "rule.py").write_text(RULE)
    (tmp_path / "tests" / "test_rule.py").write_text(TEST)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_every_mutation_fits_the_code() -> None:
    """Its text stands exactly once in its file, and every test that it names exists."""
    listed = read()
    assert {mutation.name: said for mutation in listed if (said := fault(mutation))} == {}
    assert len(listed) >= 40


def test_each_outcome_is_told_apart(project: Path) -> None:
    """Caught, survived, not to be run, gone; the project itself is left as it is."""
    mutations = [
        Mutation("turned", "at most ten", "rule.py", "<=", "<", TESTED),
        Mutation("dropped", "at most ten", "rule.py", "units <= 10", "units > 0", TESTED),
        Mutation("nonsense", "at most ten", "rule.py", "units <= 10", "no_such_name", TESTED),
        Mutation("gone", "at most ten", "rule.py", "units <= 12", "True", TESTED),
    ]
    told: list[str] = []
    outcomes = run(mutations, lambda outcome: told.append(outcome.mutation.name), project)
    assert [outcome.result for outcome in outcomes] == ["caught", "SURVIVED", "CAN'T RUN", "DOES NOT APPLY"]
    assert outcomes[0].said == "test_rule.py::test_ten_is_the_limit"
    assert sorted(told) == sorted(mutation.name for mutation in mutations)
    assert (project / "rule.py").read_text() == RULE


def test_nothing_is_judged_by_tests_that_fail_anyway(project: Path) -> None:
    """Such a test would catch everything."""
    (project / "rule.py").write_text(RULE.replace("10", "9"))
    with pytest.raises(ListError, match="do not pass with every rule in place"):
        run([Mutation("turned", "at most ten", "rule.py", "<=", "<", TESTED)], lambda _: None, project)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[mutation]]\nname = 'a'\n", r"a.toml: mutation 1 \(a\): rule, file, old, new, tests missing"),
        ("mutation = [", "a.toml: "),
        ("other = 1", "a.toml: "),
    ],
)
def test_a_mistake_in_the_list_has_its_place(tmp_path: Path, text: str, said: str) -> None:
    """File, number and name."""
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ListError, match=said):
        read(tmp_path)
