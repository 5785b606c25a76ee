"""The rules that are broken to try the simulator's invariants fit the code, and each invariant has one."""

from pathlib import Path

import pytest

from lab.system.rules import INVARIANTS
from tools.mutate import ListError
from tools.sim_mutations import LIST, read_list, write_seed


def test_every_mutation_fits_the_code() -> None:
    """Its text stands exactly once in a module of the product, and it names worlds."""
    listed = read_list()
    assert {mutation.name: fault for mutation in listed if (fault := mutation.fault())} == {}
    assert len({mutation.name for mutation in listed}) == len(listed)


def test_every_invariant_has_a_mutation() -> None:
    """And no mutation names an invariant that there is not."""
    assert {mutation.invariant for mutation in read_list()} == set(INVARIANTS)


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("[[mutation]]\nname = 'a'\n", r"a.toml: mutation 1 \(a\): rule, file, old, new, invariant, seeds"),
        ("other = 1", "a.toml: "),
    ],
)
def test_a_mistake_in_the_list_has_its_place(tmp_path: Path, text: str, report: str) -> None:
    """File, number and name."""
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ListError, match=report):
        read_list(file)


def test_a_seed_that_was_found_is_written_into_the_list(tmp_path: Path) -> None:
    """In the place of the others of its mutation, and nothing else changes."""
    file = tmp_path / "list.toml"
    file.write_text(LIST.read_text())
    before = read_list(file)
    write_seed(before[1], 4_711, file)
    after = read_list(file)
    assert after[1].seeds == (4_711,)
    assert [*after[:1], *after[2:]] == [*before[:1], *before[2:]]
