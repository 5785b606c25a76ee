"""What the test run itself promises: in CI nothing that needs Kafka is skipped silently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

SKIPS = '''"""Skips."""
import pytest

def test_skipped():
    pytest.skip("no reason good enough")

def test_passes():
    pass
'''


def outcome(project: Path, **environment: str) -> tuple[int, str]:
    """Exit status and output of the tests of `project`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)],
        cwd=project,
        env={**{name: value for name, value in os.environ.items() if name != "CI"}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
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
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (place / "test_skips.py").write_text(SKIPS)
    returned, output = outcome(tmp_path, **environment)
    assert returned == status
    assert "1 passed, 1 skipped" in output
    assert ("test_skipped: an integration test may not be skipped in CI" in output) == bool(status)
