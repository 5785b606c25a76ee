"""What the test run itself promises: CI skips no integration test, no unit test blocks its loop, and compiled
code is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dealing import LONG, dealt
from tests.places import ROOT, SMALL_POLICY

SKIPS = '''"""Skips."""
import pytest

def test_skipped():
    pytest.skip("no reason good enough")

def test_passes():
    pass
'''

BLOCKS = '''"""Blocks."""
from pathlib import Path
from controller.policy_file import load_policy

async def test_reads_a_file():
    load_policy(Path("{policy}"))

def test_reads_it_without_a_loop():
    load_policy(Path("{policy}"))
'''


def outcome(project: Path, **environment: str) -> tuple[int, str]:
    """Exit status and output of the tests of `project`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)],
        cwd=project,
        env={**{name: value for name, value in os.environ.items() if name != "CI"}, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("folder", "environment", "status"),
    [
        ("integration", {"CI": "true"}, 1),
        ("integration", {}, 0),
        ("unit", {"CI": "true"}, 0),
    ],
)
def test_skipped_integration_test_fails_ci(
    tmp_path: Path, folder: str, environment: dict[str, str], status: int
) -> None:
    """Only an integration test, and only in CI, may not be skipped; the output names it."""
    place = tmp_path / "tests" / folder
    place.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("conftest.py", "dealing.py", "stacks.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    (place / "test_skips.py").write_text(SKIPS)
    returned, output = outcome(tmp_path, **environment)
    assert returned == status
    assert "1 passed, 1 skipped" in output
    assert ("test_skipped: an integration test may not be skipped in CI" in output) == bool(status)


def test_unit_test_that_blocks_its_event_loop_fails(tmp_path: Path) -> None:
    """Product code that reads a file fails a unit test inside a running event loop, and only there."""
    place = tmp_path / "tests" / "unit"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "unit" / "conftest.py", place)
    (place / "test_blocks.py").write_text(BLOCKS.format(policy=SMALL_POLICY))
    returned, output = outcome(tmp_path)
    assert returned == 1
    assert "1 failed, 1 passed" in output
    assert "BlockingError: Blocking call to " in output


def test_every_script_that_runs_tests_keeps_compiled_code() -> None:
    """Also where the environment forbids it, as images for Python often do."""
    scripts = [path for path in (ROOT / "script").iterdir() if "pytest" in path.read_text()]
    assert len(scripts) >= 3
    for path in scripts:
        assert '. "$root/script/_compiled"\n' in path.read_text(), path.name
    told = 'root=/here; . "$0"; echo "${PYTHONDONTWRITEBYTECODE-unset} $PYTHONPYCACHEPREFIX"'
    done = subprocess.run(
        ["sh", "-c", told, ROOT / "script" / "_compiled"],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "unset /here/.cache/pycache\n"


def test_each_worker_begins_with_what_takes_long() -> None:
    """No test is lost, and none is moved but those of the long files, which exist."""
    files = ["a", "a", "b", "b", "slow", "c", "slower", "c", "d", "d"]
    items = [(file, f"{file}{number}") for number, file in enumerate(files)]
    order = dealt(items, 3, (("slow",), ("slower",)))
    assert order == ["slow4", "a0", "a1", "slower6", "b2", "b3", "c5", "c7", "d8", "d9"]
    assert sorted(dealt(items, 4, ())) == sorted(item for _, item in items)
    for row in LONG:
        for name in row:
            assert (ROOT / "tests" / "integration" / name).is_file(), name
