"""The rules that are broken to try the simulator's invariants fit the code, and each invariant has one."""

from pathlib import Path

import pytest

from lab.system.command import read_world
from lab.system.rules import INVARIANTS
from tools.mutate import ListError
from tools.sim_mutations import LIST, WORLDS, read_list, write_world


def test_every_mutation_fits_the_code() -> None:
    """Its text stands exactly once in a module of the product."""
    listed = read_list()
    assert {mutation.name: fault for mutation in listed if (fault := mutation.fault())} == {}
    assert len({mutation.name for mutation in listed}) == len(listed)


def test_every_mutation_has_a_world_and_every_world_a_mutation() -> None:
    """Each file holds a world of `tieline sim`."""
    assert {mutation.path for mutation in read_list()} == set(WORLDS.iterdir())
    assert all(read_world(path).seconds for path in WORLDS.iterdir())


def test_every_invariant_has_a_mutation() -> None:
    """And no mutation names an invariant that there is not."""
    assert {mutation.invariant for mutation in read_list()} == set(INVARIANTS)


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("[[mutation]]\nname = 'a'\n", r"a.toml: mutation 1 \(a\): rule, file, old, new, invariant, world"),
        ("other = 1", "a.toml: "),
    ],
)
def test_a_mistake_in_the_list_has_its_place(tmp_path: Path, text: str, report: str) -> None:
    """File, number and name."""
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ListError, match=report):
        read_list(file)


def test_a_world_that_was_found_is_written_and_named_in_the_list(tmp_path: Path) -> None:
    """Under the mutation's name, and nothing else changes."""
    file = tmp_path / "list.toml"
    file.write_text(LIST.read_text())
    before = read_list(file)
    write_world(before[1], "{}", file, tmp_path)
    after = read_list(file)
    assert (tmp_path / f"{before[1].name}.json").read_text() == "{}"
    assert after[1].world == before[1].name
    assert [*after[:1], *after[2:]] == [*before[:1], *before[2:]]
