"""How wide the commands draw."""

import os
import subprocess
import sys

import pytest

DRAW = "from controller.cli.screen import screen; print(screen().width)"


@pytest.mark.parametrize(("columns", "width"), [({}, 160), ({"COLUMNS": "90"}, 90)])
def test_a_pipe_is_wide_enough_for_whole_names(columns: dict[str, str], width: int) -> None:
    """Without a terminal nothing says how wide it is; COLUMNS does, where it is set."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | columns
    done = subprocess.run(
        [sys.executable, "-c", DRAW], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert int(done.stdout) == width
