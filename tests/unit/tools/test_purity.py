"""The rule of tools/purity.py finds what a pure file keeps, and lets constant tables and arguments pass."""

from __future__ import annotations

import pytest

from tools.purity import pure_files_keep_nothing
from tools.source import Source


def findings(path: str, text: str) -> list[str]:
    """What is found in one file."""
    return [str(finding) for finding in pure_files_keep_nothing(Source(path, text))]


def changes(statement: str, signature: str = "") -> str:
    """A pure file whose function does one thing to the module's table."""
    return f'"""Rules. Pure."""\nTABLE = {{"a": [1]}}\ndef f({signature}) -> None:\n    {statement}\n'


@pytest.mark.parametrize(
    "line",
    [
        "_kept: dict[int, str] = {}",
        "_last: list[str] = []",
        "seen = set()",
        "_queue = collections.deque(maxlen=4)",
        "_by_name = defaultdict[str, int](int)",
        '_words = {"a": 1}',
    ],
)
@pytest.mark.parametrize(
    ("path", "docstring"),
    [
        ("controller/core/moves/a.py", "Moves."),
        ("streams/a.py", "Rows into one. Pure."),
        ("client/tieline/a.py", "PURE. A choice."),
    ],
)
def test_a_container_of_a_pure_module_is_found(path: str, docstring: str, line: str) -> None:
    """Wherever a file says or is known to be pure, empty or not."""
    (finding,) = findings(path, f'"""{docstring}"""\n{line}\n')
    assert f"{path}:2: {line.split(':')[0].split(' =')[0]} is a container" in finding


@pytest.mark.parametrize(
    "statement",
    [
        'TABLE["b"] = [2]',
        'del TABLE["a"]',
        'TABLE["a"] += [2]',
        "TABLE.update(b=[2])",
        "for _ in range(3):\n        TABLE.pop('a')",
    ],
)
def test_a_function_that_changes_a_table_is_found(statement: str) -> None:
    """A table in upper case is constant only as long as nobody changes it."""
    (finding,) = findings("streams/a.py", changes(statement))
    assert "f changes TABLE of the module" in finding


def test_a_function_that_rebinds_a_name_is_found() -> None:
    """State needs no container."""
    (finding,) = findings("streams/a.py", changes("global COUNT\n    COUNT = 1"))
    assert "f rebinds COUNT of the module" in finding


def test_kept_answers_are_found_in_the_core() -> None:
    """A cache of functools lives in the module like any other; the core has one place for what is kept."""
    text = '"""PURE. A."""\n@functools.lru_cache(4)\ndef f() -> None:\n    pass\n'
    (finding,) = findings("controller/core/a.py", text)
    assert "the answers of f are kept" in finding
    assert findings("client/tieline/a.py", text) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("streams/a.py", changes('return TABLE["a"]')),
        ("streams/a.py", changes("TABLE.update(b=[2])", "TABLE: dict")),
        ("streams/a.py", changes("TABLE = {}\n    TABLE.update(b=[2])")),
        (
            "streams/a.py",
            '"""Rules. Pure."""\n__all__ = ["f"]\n_encoder = msgspec.json.Encoder()\nKINDS = set()\n',
        ),
        ("streams/a.py", '"""Reads what others wrote."""\n_kept = {}\n'),
        ("controller/core/a.py", '"""A."""\nclass A:\n    rows = {}\n'),
    ],
)
def test_what_a_pure_file_may_have(path: str, text: str) -> None:
    """Constants, what a caller hands in, what a function makes for itself; other files what they like."""
    assert findings(path, text) == []
