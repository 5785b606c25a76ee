"""Every rule of tools/naming.py finds what it is for, and lets the allowed pass."""

from __future__ import annotations

import pytest

from tools.naming import classes_are_unique, fields_are_named, names_are_nouns
from tools.source import Source

POINT = '"""A."""\nclass Point:\n    """A."""\n'


def test_the_fourth_field_is_named() -> None:
    """A class of the project takes three values by position; a library's class is not ours to judge."""
    source = Source(
        "streams/a.py", POINT + "a = Point(1, 2, 3)\nb = Point(1, 2, 3, 4)\nc = Path(1, 2, 3, 4)\n"
    )
    assert [str(finding).partition(": name")[0] for finding in fields_are_named([source])] == [
        "streams/a.py:5: Point is called with 4 positional values"
    ]


def test_values_that_are_spread_are_not_counted() -> None:
    """Who spreads a sequence says that its order is the class's own."""
    source = Source("streams/a.py", POINT + "a = Point(*values)\nb = Point(1, 2, 3, z=4)\n")
    assert list(fields_are_named([source])) == []


def test_tests_may_be_shorter() -> None:
    """The rules hold for what ships and for the lab."""
    source = Source("tests/a.py", POINT + "a = Point(1, 2, 3, 4)\nfound = 1\n")
    assert list(fields_are_named([source])) == []
    assert list(names_are_nouns(source)) == []


@pytest.mark.parametrize(
    ("paths", "name", "count"),
    [
        (("controller/core/model/a.py", "controller/core/lp/b.py"), "Answer", 1),
        (("streams/a.py", "streams/b.py"), "_Answer", 1),
        (("controller/cli/a.py", "controller/web/b.py"), "Answer", 0),
        (("client/tieline/table.py", "client/tieline/_routing/route.py"), "Route", 0),
    ],
)
def test_a_class_name_stands_for_one_class(paths: tuple[str, ...], name: str, count: int) -> None:
    """Names are unique in a wing; a public module of the client is a wing of its own."""
    sources = [Source(path, f'"""A."""\nclass {name}:\n    """A."""\n') for path in paths]
    assert len(list(classes_are_unique(sources))) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("found = 1", 1),
        ("for one in rows: pass", 1),
        ("def f(held: int) -> None: pass", 1),
        ("rows = 1", 0),
        ("print(found)", 0),
    ],
)
def test_a_name_says_what_the_value_is(text: str, count: int) -> None:
    """Participles are reported where they are bound, not where they are read."""
    assert len(list(names_are_nouns(Source("lab/a.py", text)))) == count
