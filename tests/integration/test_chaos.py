"""A few faults of real processes under load; ``script/chaos --all`` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.chaos.catalogue import FAULTS, SAMPLE
from lab.chaos.run import Chaos

PATIENCE = 6.0


@pytest.mark.timeout(600)
async def test_a_sample_of_faults_breaks_no_promise(tmp_path: Path) -> None:
    """The leader is killed, Redis is emptied, all ways are slow, events are poison: nothing is lost."""
    said: list[str] = []
    verdicts = await Chaos(tmp_path, said.append, patience=PATIENCE, clocks=False).run(
        [FAULTS[name] for name in SAMPLE]
    )
    assert all(verdict.passed for verdict in verdicts), "\n".join(said)
    assert len(verdicts) == len(SAMPLE)
