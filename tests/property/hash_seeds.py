"""Runs of one programme in processes that order their sets of text differently."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def last_lines(program: str) -> set[str]:
    """The different last lines that two such processes print; one, if nothing depends on that order."""
    with ThreadPoolExecutor() as side_by_side:
        return set(side_by_side.map(lambda hash_seed: _last_line(program, hash_seed), ("1", "2")))


def _last_line(program: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ended = subprocess.run(
        (sys.executable, "-c", program), env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout.splitlines()[-1]
