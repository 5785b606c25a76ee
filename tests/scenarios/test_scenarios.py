"""Every scenario file plays out as it is written."""

from pathlib import Path

import pytest

from tests.scenarios.language import play

FILES = sorted(Path(__file__).parent.glob("*.scenario"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path, request: pytest.FixtureRequest) -> None:
    """The planner decides, second by second, what the file says it decides."""
    written = file.read_text()
    played = play(written)
    if request.config.getoption("--rewrite"):
        file.write_text(played)
    else:
        assert played == written
