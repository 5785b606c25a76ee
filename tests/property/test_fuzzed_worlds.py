"""A fixed set of generated worlds keeps every promise of the design, to the same bytes in every process.

`tieline fuzz` runs as many more as time allows, and makes the first that fails smaller.
"""

import os
import subprocess
import sys

import pytest

from lab.sim.command import run_seed

SEEDS = (*range(19), 20)
SECONDS = 300
PROGRAM = "from lab.sim.command import run_seed; print(run_seed(5, 120).digest)"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_keeps_every_promise(seed: int) -> None:
    """Five minutes of virtual time without a breach of any invariant."""
    assert run_seed(seed, SECONDS).breaches == ()


def test_a_seed_gives_the_same_bytes_in_every_process() -> None:
    """Two processes that order their sets differently publish the same tables and remember the same."""
    digests = {_digest(hash_seed) for hash_seed in ("1", "2")}
    assert len(digests) == 1


def _digest(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ended = subprocess.run(
        (sys.executable, "-c", PROGRAM), env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout.splitlines()[-1]
