"""Every rule of tools/tidy.py finds what it is for, and lets the allowed pass."""

from __future__ import annotations

import pytest

from tools.source import Source
from tools.tidy import check

LONG_BODY = "\n".join("    x = 1" for _ in range(60))
LEFT = "TO" + "DO"


def findings(path: str, text: str, *others: Source) -> list[str]:
    """What is found in one file, the others being there to import it."""
    return [str(finding) for finding in check([Source(path, text), *others]) if finding.path == path]


def program(body: str) -> str:
    return f'"""A program."""\n{body}\nif __name__ == "__main__":\n    pass\n'


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("streams/a.py", "x = 1\n" * 400, "404 lines, more than 400"),
        ("streams/a.py", f"def f() -> None:\n{LONG_BODY}", "f has 61 lines"),
        ("streams/a.py", f"x = 1  # {LEFT} later", f":2: {LEFT} left in the code"),
        ("streams/a.py", "def f() -> None:\n    raise NotImplementedError", ":3: NotImplementedError"),
        ("streams/a.py", "import time\nnow = time.time()", ":3: time.time reads a clock"),
        ("streams/a.py", "import time\nnow = time.monotonic_ns", ":3: time.monotonic_ns reads a clock"),
        ("streams/a.py", "from time import monotonic", ":2: imports time.monotonic"),
        (
            "streams/a.py",
            "import datetime\nnow = datetime.datetime.now()",
            "datetime.datetime.now reads a clock",
        ),
        ("tests/unit/test_a.py", "from unittest.mock import patch", "imports a mock library"),
        ("tests/unit/test_a.py", "from unittest import mock", "imports a mock library"),
        ("tests/unit/test_a.py", "import mock", "imports a mock library"),
        ("tests/unit/test_a.py", "import time\ntime.sleep(1)", ":3: sleeps"),
        ("tests/unit/test_a.py", "from asyncio import sleep\nsleep(0.1)", ":3: sleeps"),
        ("tests/unit/test_a.py", "def test_a() -> None:\n    pass", "test_a has no docstring"),
        ("client/tieline/a.py", "def f() -> None:\n    pass", ":2: f is public and has no docstring"),
        (
            "client/tieline/a.py",
            'class A:\n    """A."""\n    def f(self) -> None:\n        pass',
            ":4: f is public",
        ),
    ],
)
def test_rule_finds(path: str, body: str, expected: str) -> None:
    """What breaks a rule is found once, with its line."""
    found = findings(path, program(body))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("streams/a.py", "x = 1\n" * 396),
        ("streams/a.py", f"def f() -> None:\n{LONG_BODY[: -len('x = 1') - 5]}"),
        ("controller/process/clock.py", "import time\nnow = time.time()"),
        ("bench/a.py", "import time\nnow = time.perf_counter()"),
        ("streams/a.py", "import time\nzone = time.timezone"),
        ("streams/a.py", "def f(timer: object) -> None:\n    timer.now()"),
        ("tests/packaging/test_a.py", "from unittest.mock import patch"),
        ("tests/unit/test_a.py", "import asyncio\nasyncio.sleep(0)"),
        ("client/tieline/a.py", "def _f() -> None:\n    pass"),
        ("client/tieline/a.py", 'class A:\n    """A."""\n    def f(self) -> None: ...'),
        ("client/tieline/a.py", "class _A:\n    def f(self) -> None:\n        pass"),
    ],
)
def test_allowed_passes(path: str, body: str) -> None:
    """What a rule allows isn't found."""
    assert findings(path, program(body)) == []


def test_module_docstring() -> None:
    """A module says what it is for; an empty one needs no words."""
    assert findings("tests/a.py", "x = 1\n") == [
        "tests/a.py:1: no module docstring: say in a line what the file is for"
    ]
    assert findings("tests/__init__.py", "") == []


@pytest.mark.parametrize(
    ("path", "importer"),
    [
        ("streams/fold.py", Source("streams/handling.py", program("from streams import fold"))),
        ("streams/fold.py", Source("streams/handling.py", program("from streams.fold import fold"))),
        ("streams/fold.py", Source("streams/handling.py", program("from .fold import fold"))),
        ("streams/fold.py", Source("streams/handling.py", program("import streams.fold"))),
        (
            "client/tieline/_routing/pick.py",
            Source("client/tieline/__init__.py", '"""A."""\nLAZY = {"pick": "._routing.pick"}'),
        ),
    ],
)
def test_imported_module_is_used(path: str, importer: Source) -> None:
    """Whatever way a module is imported counts, a lazy name in the package included."""
    assert findings(path, '"""Used."""\n', importer) == []


def test_module_that_only_tests_import() -> None:
    """A module that nothing but its test imports is dead."""
    only_test = Source("tests/unit/test_fold.py", '"""T."""\nfrom streams import fold\n')
    assert "nobody imports this module" in findings("streams/fold.py", '"""Dead."""\n', only_test)[0]


@pytest.mark.parametrize("path", ["streams/__init__.py", "streams/__main__.py", "client/tieline/events.py"])
def test_entrances_need_no_importer(path: str) -> None:
    """Packages, programs and the client's public modules are entered from outside."""
    assert findings(path, '"""Entrance."""\n') == []
